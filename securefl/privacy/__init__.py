"""Differential privacy: secure noise and sampling, per-unit gradients, accounting."""
