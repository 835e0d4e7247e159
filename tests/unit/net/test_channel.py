"""TLS over memory BIOs: every byte that came counts, and both ends of a stream are said."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.net.channel import Channel, Ciphertext
from tests.support.certificates import make_certificates
from tls.context import server_context
from tls.failures import HandshakeError
from tls.policy import TLSSettings

MINIMUM_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates")).directory


class Ends:
    """A channel and the client on the other end of its socket."""

    def __init__(
        self, directory: Path, version: ssl.TLSVersion, *, send_buffer: int = 0, shared: Ciphertext | None = None
    ) -> None:
        self.ours, self.theirs = socket.socketpair()
        for sock in (self.ours, self.theirs):
            sock.setblocking(False)
        if send_buffer:
            self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        settings = TLSSettings(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"))
        self.channel = Channel(self.ours, server_context(settings), shared or Ciphertext())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(directory / "ca.pem"))
        context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake_hands(self) -> None:
        """The whole handshake."""
        done = False
        while not done:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.push()
            self.channel.receive()
            done = self.channel.handshake()
            self.pull()
        self.client.do_handshake()

    def push(self, count: int = -1) -> None:
        """Sends what the client has sealed, or the first bytes of it."""
        self.theirs.sendall(self.outgoing.read(count))

    def pull(self) -> None:
        """Takes what the server has sent."""
        try:
            while data := self.theirs.recv(1 << 20):
                self.incoming.write(data)
        except BlockingIOError:
            return
        self.incoming.write_eof()

    def read(self) -> bytes:
        """What the client can read."""
        self.pull()
        data = b""
        try:
            while piece := self.client.read(1 << 20):
                data += piece
        except ssl.SSLWantReadError:
            return data
        return data

    def open(self, size: int = 1 << 16) -> bytes:
        """What the channel reads in one turn."""
        self.channel.receive()
        room = memoryview(bytearray(size))
        return bytes(room[: self.channel.read_into(room)])


@pytest.fixture(params=MINIMUM_VERSIONS, ids=["1.2", "1.3"])
def ends(request: pytest.FixtureRequest, directory: Path) -> Iterator[Ends]:
    made = Ends(directory, request.param)
    made.shake_hands()
    yield made
    made.ours.close()
    made.theirs.close()


def test_data_goes_both_ways(ends: Ends) -> None:
    ends.client.write(b"there")
    ends.push()
    assert ends.open() == b"there"
    assert ends.channel.write(memoryview(b"back")) == 4
    assert ends.channel.waiting == 0
    assert ends.read() == b"back"
    assert not ends.channel.at_end


def test_many_records_come_in_one_read(ends: Ends) -> None:
    for _ in range(100):
        ends.client.write(b"0123456789")
    ends.push()
    assert ends.open() == b"0123456789" * 100


def test_a_small_room_takes_what_fits(ends: Ends) -> None:
    ends.client.write(b"0123456789")
    ends.push()
    assert ends.open(4) == b"0123"
    room = memoryview(bytearray(100))
    assert ends.channel.read_into(room) == 6
    assert ends.channel.read_into(room) == 0
    assert not ends.channel.at_end


def test_who_sends_and_says_nothing_is_cut_off(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does who changes keys over and over; what of it is shown here is a record that does not end."""
    monkeypatch.setattr("broker.net.channel.MOST_BARREN", 1000)
    ends.client.write(bytes(5000))
    ends.push(900)
    assert ends.open() == b""
    assert not ends.channel.at_end
    ends.push()
    assert ends.open() == bytes(5000)
    ends.client.write(bytes(5000))
    ends.push(1001)
    assert not ends.channel.at_end
    assert ends.open() == b""
    assert (ends.channel.at_end, ends.channel.broken) == (True, True)


def test_the_last_words_before_the_end_of_the_stream_are_read(ends: Ends) -> None:
    ends.client.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.push()
    assert ends.open() == b"last words"
    assert ends.channel.at_end
    assert not ends.channel.broken


def test_the_end_of_the_stream_is_answered(ends: Ends) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.push()
    assert ends.open() == b""
    assert ends.channel.at_end
    ends.channel.finish()
    ends.pull()
    ends.client.unwrap()


def test_the_server_says_the_end_of_its_stream(ends: Ends) -> None:
    ends.channel.finish()
    assert ends.read() == b""
    assert ends.client.pending() == 0


def test_what_came_before_a_forged_record_is_read_first(ends: Ends) -> None:
    ends.client.write(b"honest")
    ends.push()
    ends.theirs.sendall(b"\x17\x03\x03\x00\x20" + b"f" * 32)
    assert ends.open() == b"honest"
    assert ends.channel.at_end
    assert ends.channel.broken


def test_a_stream_that_is_cut_off_is_no_end(ends: Ends) -> None:
    ends.client.write(b"cut")
    ends.theirs.sendall(ends.outgoing.read()[:-1])
    ends.theirs.close()
    assert ends.open() == b""
    assert ends.channel.receive() == 0
    assert not ends.channel.at_end


@pytest.mark.parametrize("version", MINIMUM_VERSIONS)
def test_writing_stops_when_the_socket_is_full_and_goes_on_in_order(directory: Path, version: ssl.TLSVersion) -> None:
    ends = Ends(directory, version, send_buffer=4096)
    ends.shake_hands()
    data = bytes(range(256)) * 8192
    sealed, received = 0, b""
    while len(received) < len(data):
        sealed += ends.channel.write(memoryview(data)[sealed:])
        assert ends.channel.waiting <= 400 * 1024
        received += ends.read()
    assert received == data
    assert ends.channel.waiting == 0
    assert ends.channel.sent > len(data)
    ends.ours.close()
    ends.theirs.close()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 64, b"\x16\x03\x01\xff\xff" + b"x" * 100])
def test_garbage_is_no_handshake(directory: Path, garbage: bytes) -> None:
    ends = Ends(directory, ssl.TLSVersion.TLSv1_3)
    ends.theirs.sendall(garbage)
    ends.channel.receive()
    with pytest.raises(HandshakeError):
        ends.channel.handshake()
    ends.ours.close()
    ends.theirs.close()


def test_tickets_wait_for_something_to_go_out_with(directory: Path) -> None:
    """They would wake the client for nothing; where there is no TLS 1.3 the server's last word ends the handshake."""
    for version, waits in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)):
        ends = Ends(directory, version)
        ends.shake_hands()
        assert bool(ends.channel._records.waiting) is waits
        assert ends.channel.waiting == 0
        assert ends.channel.write(memoryview(b"")) == 0
        assert bool(ends.channel._records.waiting) is waits
        ends.channel.write(memoryview(b"words"))
        assert ends.channel._records.waiting == 0
        assert ends.read() == b"words"
        assert ends.client.session is not None
        assert ends.client.session.has_ticket
        ends.ours.close()
        ends.theirs.close()


def test_what_is_not_opened_yet_survives_what_others_read(directory: Path) -> None:
    """All read into one buffer, in which the records of one may stand that has to wait."""
    shared = Ciphertext()
    waiting, other = (Ends(directory, ssl.TLSVersion.TLSv1_3, shared=shared) for _ in range(2))
    for ends in (waiting, other):
        ends.shake_hands()
    for _ in range(3):
        waiting.client.write(bytes(range(256)) * 40)
    waiting.push()
    assert waiting.open(100) == bytes(range(100))
    other.client.write(b"other" * 2000)
    other.push()
    assert other.open() == b"other" * 2000
    room = memoryview(bytearray(1 << 16))
    rest = bytes(room[: waiting.channel.read_into(room)])
    assert rest == (bytes(range(256)) * 120)[100:]
    # More may come behind what was kept.
    waiting.client.write(b"more" * 1000)
    waiting.push()
    assert waiting.open(10) == b"moremoremo"
    waiting.client.write(b"last")
    waiting.push()
    assert waiting.open() == b"re" + b"more" * 997 + b"last"
    for ends in (waiting, other):
        ends.channel.let_go()
        ends.ours.close()
        ends.theirs.close()
