"""The protocol in virtual time, against every promise of the public contract."""
