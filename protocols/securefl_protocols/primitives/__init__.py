"""Cryptographic primitives, and the ring that sums are taken in."""
