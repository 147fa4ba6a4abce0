"""The commands of `securefl agreement`."""
