"""Coordinator and member as processes of their own, over a broker."""
