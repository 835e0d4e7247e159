"""A new configuration in place of a running one: what changes, what is refused, and what becomes of the sessions."""
