"""What stands on the wire: INFO, CONNECT, error texts and the numbers of the core's events."""
