"""Retail tasks: data, model, loss a unit, metrics."""
