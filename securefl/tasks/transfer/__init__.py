"""Rank the products of a department that is new to a retailer."""
