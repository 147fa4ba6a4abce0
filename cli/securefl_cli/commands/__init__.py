"""The commands: parse, call the core, render."""
