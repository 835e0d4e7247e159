"""JetStream: streams, consumers, and what stands on them."""
