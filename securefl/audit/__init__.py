"""Offline audit of a run: export, verification, explanation, empirical attacks and reports."""
