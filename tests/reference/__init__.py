"""A second implementation of protocol.md, in plain integers, written from the page alone.

It shares no code with `securefl_protocols`; both use the primitives of `cryptography`. It is slow
and small, and its checks stand in the order of the page, each beside the number of its MUST.
"""
