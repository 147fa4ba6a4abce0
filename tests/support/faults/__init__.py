"""Faults played on a consortium: seeded schedules, parties in virtual time, and real processes."""
