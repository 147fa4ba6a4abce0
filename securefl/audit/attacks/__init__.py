"""Empirical privacy audit: attacks whose success gives a lower bound of epsilon."""
