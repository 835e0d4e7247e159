"""The system account at work: what it is told of the server by itself, and what it is told when it asks."""
