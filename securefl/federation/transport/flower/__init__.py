"""Flower as a carrier: it sees sealed bytes, and decides nothing but whether they arrive."""
