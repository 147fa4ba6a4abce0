"""A member's update of a round, one file for each way to compute it."""
