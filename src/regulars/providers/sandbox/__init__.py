"""The provider for trying things out: it sends nothing to anybody."""
