"""Rotation of keys: a new key beside the old one, whatever depends on it signed anew, the old one out when nobody uses it."""
