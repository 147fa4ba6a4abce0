"""A member: it answers the coordinator, trains on its own data, and releases what is charged."""
