"""Predict which customers will not come back."""
