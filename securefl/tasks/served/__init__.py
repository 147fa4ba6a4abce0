"""Models that can be carried: what a member holds after a run, in a folder of its own."""
