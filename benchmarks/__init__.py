"""Each module prints a table and, with `--json`, one JSON object."""
