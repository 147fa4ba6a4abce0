"""Metrics as sums that add up over members."""
