"""Random streams and noise."""
