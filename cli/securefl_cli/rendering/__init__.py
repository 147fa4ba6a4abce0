"""Tables, progress and text on a terminal."""
