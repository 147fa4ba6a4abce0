"""Rank the products that a customer buys next, from the order of earlier ones."""
