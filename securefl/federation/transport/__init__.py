"""What carries the messages between the coordinator and the members."""
