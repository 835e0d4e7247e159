"""Sockets: accepting, the upgrade to TLS, reading into lanes and flushing outboxes."""
