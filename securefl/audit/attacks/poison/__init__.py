"""Poisoning: what a member's update or data can do to the other members, and what notices it."""
