"""Metrics that add up over retailers."""
