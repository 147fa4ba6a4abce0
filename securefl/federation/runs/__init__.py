"""Whole runs, from a configuration to a result."""
