"""Predict how many units sell."""
