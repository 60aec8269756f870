"""Tools to test games and the library itself over bad networks."""
