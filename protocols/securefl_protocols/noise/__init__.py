"""Exact integer noise from uniform words."""
