"""A member's update in a round, one file for each way to make it."""
