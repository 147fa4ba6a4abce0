"""Fixed-point encoding of clipped sums and client updates."""
