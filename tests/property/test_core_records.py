"""Records of the core against the ssl module: whatever one seals the other opens, however it is cut and handed over."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core import records
from broker.core.records import Outlet, RecordError, Records
from tests.support.certificates import make_certificates
from tests.support.handshakes import SHARED, Peers
from tls.context import client_context, server_context
from tls.engine import ServerContext
from tls.policy import TLSSettings

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    directory = make_certificates(tmp_path_factory.mktemp("certificates")).directory
    files = {"cert_file": str(directory / "server.pem"), "key_file": str(directory / "server-key.pem")}
    return server_context(TLSSettings(**files))


def peers(listening: ServerContext, version: ssl.TLSVersion) -> Peers:
    dialling = client_context(TLSSettings(insecure=True))
    dialling.maximum_version = version
    return Peers(dialling, listening)


MESSAGES = st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=4)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=40, deadline=None)
@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=8), room=st.integers(1, 50_000))
def test_what_comes_is_opened_however_it_is_cut(
    listening: ServerContext, version: ssl.TLSVersion, messages: list[bytes], cuts: list[int], room: int
) -> None:
    both = peers(listening, version)
    for message in messages:
        both.client.write(message)
    ciphertext = both.sealed_by_client()
    space = memoryview(bytearray(room))
    opened, turn = b"", 0
    while ciphertext:
        cut = cuts[turn % len(cuts)]
        turn += 1
        both.records.feed(memoryview(ciphertext), min(cut, len(ciphertext)))
        ciphertext = ciphertext[cut:]
        while count := both.records.read_into(space):
            opened += space[:count]
    assert opened == b"".join(messages)
    assert not both.records.at_end


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=40, deadline=None)
@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=8))
def test_what_is_sealed_is_sent_however_it_is_taken(
    listening: ServerContext, version: ssl.TLSVersion, messages: list[bytes], cuts: list[int]
) -> None:
    both, other = peers(listening, version), peers(listening, version)
    turn = 0
    for message in messages:
        assert both.records.seal(memoryview(message)) == len(message)
        while both.records.waiting:
            # Others send by the same outlet, before any of it was taken and whenever some of it was.
            other.records.seal(memoryview(b"other"))
            other.pass_on()
            both.pass_on(cuts[turn % len(cuts)])
            turn += 1
    received = b""
    while len(received) < sum(map(len, messages)):
        received += both.client.read(1 << 20)
    assert received == b"".join(messages)
    assert other.client.read(1 << 20).startswith(b"other")


def test_very_much_is_sealed_in_parts(listening: ServerContext) -> None:
    both = peers(listening, ssl.TLSVersion.TLSv1_3)
    data = bytes(range(256)) * 4096
    sealed, received = 0, b""
    while sealed < len(data):
        count = both.records.seal(memoryview(data)[sealed:])
        assert 0 < count < 400 * 1024
        sealed += count
        both.pass_on(1)
        with pytest.raises(RecordError, match="older bytes wait"):
            both.records.seal(memoryview(b"x"))
        both.pass_on()
    while len(received) < len(data):
        received += both.client.read(1 << 20)
    assert received == data


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, 1 << 16), bit=st.integers(0, 7), message=st.binary(min_size=1, max_size=300))
def test_a_bit_that_is_turned_ends_the_stream(
    listening: ServerContext, version: ssl.TLSVersion, place: int, bit: int, message: bytes
) -> None:
    """Whatever was turned, nothing but what the client wrote is ever handed out."""
    both = peers(listening, version)
    both.client.write(b"before")
    before = both.sealed_by_client()
    both.client.write(message)
    forged = bytearray(both.sealed_by_client())
    forged[place % len(forged)] ^= 1 << bit
    both.records.feed(memoryview(before + bytes(forged)), len(before) + len(forged))
    space = memoryview(bytearray(1 << 16))
    assert bytes(space[: both.records.read_into(space)]) == b"before"
    assert both.records.read_into(space) == 0
    if both.records.at_end:
        assert both.records.broken
        assert both.records.read_into(space) == 0


class TestMemory:
    def test_buffers_are_given_back_when_they_hold_nothing(self, listening: ServerContext) -> None:
        both = peers(listening, ssl.TLSVersion.TLSv1_3)
        both.client.write(b"x" * 100_000)
        sealed = both.sealed_by_client()
        both.records.feed(memoryview(sealed), len(sealed))
        assert not both.records.shrink()
        both.records.keep()
        assert not both.records.shrink()
        space = memoryview(bytearray(1 << 17))
        assert both.records.read_into(space) == 100_000
        assert both.records.shrink()
        both.records.seal(memoryview(b"y" * 50_000))
        assert both.records.shrink()
        both.pass_on()
        # It goes on as if nothing had been.
        both.client.write(b"still there")
        assert both.received() == b"still there"

    @pytest.mark.parametrize("count", [-1, 5])
    def test_no_more_is_taken_than_the_buffer_holds(self, listening: ServerContext, count: int) -> None:
        both = peers(listening, ssl.TLSVersion.TLSv1_3)
        with pytest.raises(ValueError, match="does not hold so much"):
            both.records.feed(memoryview(b"four"), count)

    def test_a_record_that_has_come_in_part_stays(self, listening: ServerContext) -> None:
        both = peers(listening, ssl.TLSVersion.TLSv1_3)
        both.client.write(b"in two parts")
        ciphertext = both.sealed_by_client()
        both.records.feed(memoryview(ciphertext), 7)
        space = memoryview(bytearray(100))
        assert both.records.read_into(space) == 0
        assert both.records.shrink()
        both.records.feed(memoryview(ciphertext)[7:], len(ciphertext) - 7)
        assert bytes(space[: both.records.read_into(space)]) == b"in two parts"


class TestMistakes:
    def test_nothing_is_sealed_behind_the_end(self, listening: ServerContext) -> None:
        both = peers(listening, ssl.TLSVersion.TLSv1_3)
        both.server.end()
        with pytest.raises(RecordError):
            both.records.seal(memoryview(b"x"))

    @pytest.mark.parametrize("count", [-1, 1])
    def test_no_more_is_sent_than_waits(self, listening: ServerContext, count: int) -> None:
        both = peers(listening, ssl.TLSVersion.TLSv1_3)
        with pytest.raises(ValueError, match="more bytes sent than wait"):
            both.records.sent(both.records.waiting + count if count > 0 else count)

    def test_a_connection_must_stand_there(self, listening: ServerContext) -> None:
        SHARED.records_of(listening.connection())
        with pytest.raises(ValueError, match="no connection stands there"):
            Records(object(), 0, Outlet())

    def test_every_function_must_be_there(self) -> None:
        with pytest.raises(KeyError):
            records.install({})
