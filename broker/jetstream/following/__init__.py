"""Streams that take their messages from other streams: mirrors, which are copies of one, and streams with sources."""
