"""The requests to JetStream: what they ask for, who answers them, and the shape of the answers (ADR-1, ADR-31)."""
