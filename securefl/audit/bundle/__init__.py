"""What an auditor receives, and reading it."""
