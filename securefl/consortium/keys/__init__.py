"""Keys of members, coordinator and broker."""
