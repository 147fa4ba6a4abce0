"""Secure aggregation among members that trust neither each other nor the coordinator.

The package is sans-I/O: messages go in, messages come out, and whoever calls brings the
entropy and the network. It imports `cryptography`, `numpy` and `msgpack`, nothing else.
"""
