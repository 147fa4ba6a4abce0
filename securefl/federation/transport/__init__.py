"""Transports: how messages travel between the coordinator and the members."""
