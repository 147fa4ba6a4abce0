"""Secure aggregation without I/O: primitives, sessions, specification in docs/protocol.md."""
