"""Retailers' tables: schema, checks and sources."""
