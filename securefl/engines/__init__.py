"""What carries messages between coordinator and members."""
