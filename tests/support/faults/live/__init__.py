"""Faults on real processes: coordinator, members, and a nats-server behind a bad line."""
