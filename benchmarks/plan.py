"""placeholder"""
FULL=QUICK=None
Plan=object
def run(*a): ...
