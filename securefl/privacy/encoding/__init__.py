"""Clipped sums as integers."""
