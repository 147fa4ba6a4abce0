"""Training together: the messages, the rounds, the members, and whole runs."""
