"""Consumers: each delivers the messages of its stream, and keeps in mind what was acknowledged."""
