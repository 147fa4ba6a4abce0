"""Generated retail data."""
