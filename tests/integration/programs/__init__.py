"""Programs that the integration tests run in processes of their own, plain and monkey-patched."""
