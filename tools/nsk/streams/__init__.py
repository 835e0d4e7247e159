"""Streams, consumers, and buckets of values and objects: what ``nsk tool`` does with them over its connection."""
