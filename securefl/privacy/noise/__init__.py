"""Cryptographic random streams, and noise drawn from them."""
