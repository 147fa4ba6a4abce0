"""Messages over NATS JetStream: durable, chunked, and closed to the broker."""
