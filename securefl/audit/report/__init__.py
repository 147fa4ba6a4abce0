"""One page about one run, for people."""
