"""Every sentence of the public contract, each by a test through the public surface."""
