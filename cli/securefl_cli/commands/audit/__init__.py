"""The commands of `securefl audit`."""
