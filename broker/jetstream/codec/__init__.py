"""The JSON of the JetStream API, read as strictly and written just as nats-server does it."""

from broker.jetstream.codec.decode import decode, is_empty, unmarshal
from broker.jetstream.codec.encode import Plain, dumps, plain
from broker.jetstream.codec.kinds import Duration, Int, Int32, Int64, TextWord, Time, Uint64, Word
from broker.jetstream.codec.scanner import JsonError
from broker.jetstream.codec.times import ZERO_TIME, now, parse_time, shown_time

__all__ = [
    "ZERO_TIME",
    "Duration",
    "Int",
    "Int32",
    "Int64",
    "JsonError",
    "Plain",
    "TextWord",
    "Time",
    "Uint64",
    "Word",
    "decode",
    "dumps",
    "is_empty",
    "now",
    "parse_time",
    "plain",
    "shown_time",
    "unmarshal",
]
