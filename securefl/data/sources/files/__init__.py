"""The retailers' own files and databases."""
