"""Streams as archives: taken at one moment and sent to a client, and made again of what a client sends."""
