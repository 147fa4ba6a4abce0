"""Networks that rank products."""
