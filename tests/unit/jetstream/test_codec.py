"""Requests are read and refused as nats-server's JSON decoder does; the texts were recorded there."""

from __future__ import annotations

import msgspec
import pytest

from broker.jetstream.api.bodies import ConsumerRequest, MessageGetRequest, NamesRequest, StreamRequest, UnpinRequest
from broker.jetstream.codec import ZERO_TIME, JsonError, decode, dumps, is_empty, parse_time, shown_time, unmarshal
from broker.jetstream.config.stream import StreamSource

STREAM = "Go struct field StreamConfigRequest.StreamConfig."
CONSUMER = "Go struct field ConsumerConfig.config."


@pytest.mark.parametrize(
    ("kind", "payload", "text"),
    [
        (StreamRequest, '{"max_msgs":"x"}', f"json: cannot unmarshal string into {STREAM}max_msgs of type int64"),
        (StreamRequest, '{"max_msgs":1.5}', f"json: cannot unmarshal number 1.5 into {STREAM}max_msgs of type int64"),
        (StreamRequest, '{"zz":1,"max_msgs":"x"}', 'json: unknown field "zz"'),
        (StreamRequest, '{"retention":"x"}', r'can not unmarshal "\"x\""'),
        (StreamRequest, '{"retention":null}', 'can not unmarshal "null"'),
        (StreamRequest, '{"compression":"x"}', "unknown compression algorithm"),
        (StreamRequest, '{"name":"S"', "unexpected EOF"),
        (StreamRequest, '{"n":1,}', "invalid character '}' looking for beginning of object key string at offset 8"),
        (StreamRequest, '{"name":"S"}x', "invalid character 'x' looking for beginning of value at offset 13"),
        (
            StreamRequest,
            '{"mirror":{"name":3}}',
            "json: cannot unmarshal number into Go struct field StreamSource.StreamConfig.mirror.name of type string",
        ),
        (StreamRequest, '{"subjects":"a"}', f"json: cannot unmarshal string into {STREAM}subjects of type []string"),
        (StreamRequest, '{"subjects":[1]}', f"json: cannot unmarshal number into {STREAM}subjects of type string"),
        (StreamRequest, "[1]", "json: cannot unmarshal array into Go value of type server.StreamConfigRequest"),
        (StreamRequest, "3", "json: cannot unmarshal number into Go value of type server.StreamConfigRequest"),
        (
            StreamRequest,
            '{"max_msg_size":3000000000}',
            f"json: cannot unmarshal number 3000000000 into {STREAM}max_msg_size of type int32",
        ),
        (
            ConsumerRequest,
            '{"config":{"ack_wait":"x"}}',
            f"json: cannot unmarshal string into {CONSUMER}ack_wait of type time.Duration",
        ),
        (
            ConsumerRequest,
            '{"config":{"backoff":["x"]}}',
            f"json: cannot unmarshal string into {CONSUMER}backoff of type time.Duration",
        ),
        (
            ConsumerRequest,
            '{"config":3}',
            "json: cannot unmarshal number into Go struct field CreateConsumerRequest.config of type"
            " server.ConsumerConfig",
        ),
        (ConsumerRequest, '{"config":{"opt_start_time":3}}', "Time.UnmarshalJSON: input is not a JSON string"),
        (
            ConsumerRequest,
            '{"config":{"opt_start_time":"x"}}',
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
        (ConsumerRequest, '{"action":"x"}', 'unknown consumer action: "x"'),
        (
            NamesRequest,
            '{"offset":"3"}',
            "json: cannot unmarshal string into Go struct field JSApiStreamNamesRequest.ApiPagedRequest.offset of type"
            " int",
        ),
        (
            MessageGetRequest,
            '{"seq":-1}',
            "json: cannot unmarshal number -1 into Go struct field JSApiMsgGetRequest.seq of type uint64",
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_same_words(kind: type[msgspec.Struct], payload: str, text: str) -> None:
    with pytest.raises(JsonError) as problem:
        decode(payload.encode(), kind, strict=True)
    assert str(problem.value) == text


def test_unknown_fields_do_not_matter_where_that_is_asked_for() -> None:
    assert decode(b'{"name":"S","zz":1}', StreamRequest, strict=False).name == "S"


def test_names_match_in_any_case_and_null_is_nothing() -> None:
    found = decode(b'{"NAME":"S","max_msgs":null,"sources":[null],"mirror":null}', StreamRequest, strict=True)
    assert (found.name, found.max_msgs, found.sources, found.mirror) == ("S", 0, [StreamSource()], None)


def test_values_behind_each_other_are_read_in_turn() -> None:
    assert decode(b'{"name":"A"} {"name":"B"}', StreamRequest, strict=True).name == "B"


def test_a_request_for_unpinning_is_one_value() -> None:
    assert unmarshal(b'{"group":"a","other":1}', UnpinRequest).group == "a"
    for payload, text in (
        (b"", "unexpected end of JSON input"),
        (b"{}x", "invalid character 'x' after top-level value"),
    ):
        with pytest.raises(JsonError, match=text):
            unmarshal(payload, UnpinRequest)


@pytest.mark.parametrize(
    ("payload", "empty"),
    [(b"", True), (b"{}", True), (b" { } ", True), (b'{"a":1}', False), (b"[]", False), (b"x", False)],
)
def test_empty_requests(payload: bytes, empty: bool) -> None:
    assert is_empty(payload) is empty


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00.120+02:00", "2024-02-29T10:00:00.12Z"),
        ("2024-02-29T12:00:00.123456789Z", "2024-02-29T12:00:00.123456789Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_times(text: str, shown: str) -> None:
    assert shown_time(parse_time(text)) == shown


def test_the_first_moment_of_all_stands_for_none() -> None:
    assert parse_time("0001-01-01T00:00:00Z") == ZERO_TIME


def test_answers_are_written_as_go_does() -> None:
    source = StreamSource(name="<S>", opt_start_time=ZERO_TIME)
    assert dumps({"b": source, "a": 1}) == (
        rb'{"b":{"name":"\u003cS\u003e","opt_start_time":"0001-01-01T00:00:00Z"},"a":1}'
    )
