"""What was done to customers' data, and what it costs in epsilon."""
