"""Real numbers as integers of the ring."""
