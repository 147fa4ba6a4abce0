"""Rank the products that a customer buys next."""
