"""The state machines of one session, at a client and at the server."""
