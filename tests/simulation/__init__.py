"""The protocol in virtual time, against every promise of API.md."""
