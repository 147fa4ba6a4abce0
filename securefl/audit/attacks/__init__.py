"""Empirical privacy: attacks whose success bounds epsilon from below."""
