"""Any request: refused with a status, or understood in the same way however it arrives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from broker.wire.upgrade import Origin, Request, RequestReader, Terms, Upgrade, UpgradeError, negotiate
from tests.support.websocket import request

TERMS = Terms(
    secured=True, compression=True, same_origin=True, allowed_origins=frozenset({Origin.parse("https://localhost")})
)
names = st.sampled_from(
    ["Host", "Origin", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Extensions", "Cookie", "X-Other"]
)
values = st.one_of(
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=20),
    st.sampled_from(["https://localhost", "https://[", "//", "a:b", "websocket", "permessage-deflate", 'a="b"; c']),
)
mangled = st.builds(
    lambda data, at, piece: data[: at % len(data)] + piece + data[at % len(data) :],
    st.builds(lambda fields: request(headers=fields), st.dictionaries(names, values, max_size=3)),
    st.integers(0, 1000),
    st.binary(max_size=4),
)


def outcome(chunks: list[bytes]) -> Request | Upgrade | str | None:
    reader = RequestReader()
    found = None
    try:
        for chunk in chunks:
            assert found is None
            found = reader.feed(chunk)
        return found and negotiate(found, TERMS)
    except UpgradeError as error:
        return f"{error.status.value} {error}"


@given(st.one_of(mangled, st.binary(max_size=200)), st.integers(1, 50))
@example(request(headers={"Origin": "https://[::1"}), 7)
@example(request(headers={"Host": "[", "Origin": "https://localhost"}), 7)
def test_any_request(data: bytes, step: int) -> None:
    end = data.find(b"\r\n\r\n")
    data = data if end < 0 else data[: end + 4]
    whole = outcome([data])
    assert outcome([data[place : place + step] for place in range(0, len(data), step)]) == whole
    if isinstance(whole, Upgrade):
        assert whole.answer.count(b"\r\n\r\n") == 1
        assert whole.answer.endswith(b"\r\n\r\n")
    elif isinstance(whole, str):
        assert whole[:3] in {"400", "403", "404", "405"}
