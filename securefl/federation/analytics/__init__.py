"""Private statistics over all members, without training."""
