"""Local training at a member."""
