"""The command line: parse, call securefl, print."""
