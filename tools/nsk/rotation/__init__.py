"""Rotation of keys: a new key beside the old one, what depends on it signed anew, the old one out when it is unused."""
