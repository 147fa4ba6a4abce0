"""Canonical JSON, fingerprints, and parsing of signed files."""
