"""Privacy accounting: the events of a run and the epsilon of their composition."""
