"""Rank products by what they are, new ones included."""
