"""Scores as releases: metric sums of all members in one masked sum, noised under a budget."""
