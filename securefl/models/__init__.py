"""Models, and which of their parameters are shared."""
