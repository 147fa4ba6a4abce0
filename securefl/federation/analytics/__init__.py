"""Private statistics over all members' customers, without training."""
