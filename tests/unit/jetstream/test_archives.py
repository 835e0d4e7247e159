"""The layers of an archive: blocks of S2, frames, tar, records, where consumers stand. What is damaged is refused."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import cramjam
import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.snapshot import files, frames, places, records, s2, tar
from broker.jetstream.snapshot.problems import ArchiveError, Step
from broker.jetstream.snapshot.records import ERASED, TOMBSTONE, Record

RECORDED = Path(__file__).parents[2] / "support" / "recorded" / "orders.s2"
"""An archive that nats-server 2.14.5 made."""


def read(content: bytes, *, pieces: int = 1 << 30) -> bytes:
    """What frames hold, given in pieces."""
    source = frames.Source()
    made = bytearray()
    reading = frames.blocks(source)
    for at in range(0, len(content), pieces):
        source.feed(content[at : at + pieces])
        for block in reading:
            if block is Step.STARVED:
                break
            if isinstance(block, bytes):
                made += block
    source.end()
    for block in reading:
        if isinstance(block, bytes):
            made += block
    return bytes(made)


def unpacked(block: bytes) -> bytes:
    """What a block of S2 holds."""
    return ended(s2.unpacked(block))


def ended(reading: Generator[Step, None, bytes]) -> bytes:
    """What it returns in the end."""
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return bytes(stop.value)


def untarred(content: bytes, *, most: int = 1 << 30) -> dict[str, bytes]:
    def check(_: str, size: int) -> None:
        if size > most:
            raise ArchiveError("too large")

    return dict(file for file in tar.files(iter([content]), check) if not isinstance(file, Step))


def chunk(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "little") + body


def compressed(block: bytes, content: bytes) -> bytes:
    value = google_crc32c.value(content)
    return chunk(0, ((((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little") + block)


BEGIN = b"\xff\x06\x00\x00S2sTwO"


# Blocks of S2


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (b"\x03\x08abc", b"abc"),
        (b"\x0c\x08abc\x15\x03", b"abcabcabcabc"),
        # The offset before is taken again, with no, one, two and three bytes of length behind the tag.
        (b"\x10\x08abc\x15\x03\x01\x00", b"abcabcabcabcabca"),
        (b"\x16\x08abc\x01\x03\x15\x00\x07", (b"abc" * 8)[:22]),
        (b"\x89\x02\x00a\x01\x01\x19\x00\x00\x00", b"a" * 265),
        (b"\x8d\x80\x04\x00a\x01\x01\x1d\x00\x04\x00\x00", b"a" * 65_549),
        (b"\x05\x00a\x0e\x01\x00", b"aaaaa"),
    ],
)
def test_elements_of_a_block(block: bytes, content: bytes) -> None:
    assert unpacked(block) == content


@given(st.lists(st.sampled_from([b"abc", b"x", b"hello world ", bytes(70)]), max_size=60).map(b"".join))
def test_snappy_is_read_by_elements_as_by_the_library(content: bytes) -> None:
    block = bytes(cramjam.snappy.compress_raw(content))
    length, at = s2._length(block)
    assert ended(s2._elements(block, at, length)) == content


@given(st.binary(max_size=60))
def test_what_is_no_block_is_refused(block: bytes) -> None:
    try:
        unpacked(block)
    except ArchiveError:
        return
    assert s2._length(block)[0] <= s2.LARGEST


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x81\x80\x80\x02\x00a",  # more than four MiB
        b"\x05\x15\x00",  # nothing to repeat
        b"\x05\x00a\x15\x09",  # further back than there is
        b"\x02\x00a\x15\x01",  # longer than it says
        b"\x09\x00a",
        b"\x05\x00a\x15",
        b"\x05\xfc\xff\xff\xff\xff",
    ],
)
def test_a_damaged_block_is_refused(block: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpacked(block)


# Frames


@given(st.binary(max_size=300), st.integers(1, 40))
def test_frames_are_read_in_any_pieces(content: bytes, pieces: int) -> None:
    writer = frames.Writer()
    packed = writer.packed(content) + writer.packed(content[::-1])
    assert read(packed, pieces=pieces) == content + content[::-1]


def test_a_recorded_archive_is_read() -> None:
    content = read(RECORDED.read_bytes(), pieces=77)
    found = untarred(content)
    assert sorted(found) == [
        "meta.inf", "meta.sum", "msgs/1.blk", "msgs/index.db", "obs/BILLING/meta.inf", "obs/BILLING/meta.sum",
        "obs/BILLING/o.dat", "obs/SHIPPING/meta.inf", "obs/SHIPPING/meta.sum", "obs/SHIPPING/o.dat",
    ]  # fmt: skip
    assert records.checksum("ORDERS", found["meta.inf"]).hex().encode() == found["meta.sum"]
    listed = list(records.unpacked(found["msgs/1.blk"], records.block_hash("ORDERS", 1)))
    assert [one.sequence for one in listed if not one.marks and one.sequence][:3] == [1, 2, 3]
    assert sum(bool(one.marks & TOMBSTONE) for one in listed) == 22
    assert files.bounds("ORDERS", found["msgs/index.db"])[:2] == (13, 122)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 this is a zip",
        chunk(0, b"\0\0\0\0\x01\x00a"),
        chunk(0xFF, b"sNaPpX"),
        BEGIN + chunk(1, b"\0\0\0\0abc"),
        BEGIN + chunk(1, b"abc"),
        BEGIN + chunk(2, b"abc"),
        BEGIN + b"\x00\xff\xff\xff",
        BEGIN + b"\x00\x09\x00",
        BEGIN + b"\x00\x09\x00\x00abc",
        b"\xff\x06\x00\x00sNaPpY" + compressed(places.unsigned(70_000) + b"\x00a\x1d\x01\x1d\x00\x10\x11\x01", b""),
    ],
)
def test_damaged_frames_are_refused(content: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(content)


def test_every_damaged_bit_is_found() -> None:
    content = bytearray(frames.Writer().packed(b"what a stream holds, and what it held before"))
    for at in range(10, len(content)):
        content[at] ^= 4
        with pytest.raises(ArchiveError):
            read(bytes(content))
        content[at] ^= 4


def test_what_may_be_skipped_is_skipped() -> None:
    assert read(BEGIN + chunk(0x99, b"index") + compressed(b"\x03\x08abc", b"abc") + chunk(0xFE, bytes(9))) == b"abc"


# Tar


def entry(name: str, content: bytes = b"", **facts: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def test_files_are_read_as_the_library_writes_them() -> None:
    long = "obs/" + "x" * 200 + "/o.dat"
    content = entry("meta.inf", b"{}") + entry(long, b"y" * 700, mtime=1.5) + tar.written("a", b"", 7) + tar.END
    assert untarred(content) == {"meta.inf": b"{}", long: b"y" * 700, "a": b""}


@pytest.mark.parametrize(
    "content",
    [
        entry("meta.inf", b"{}"),
        entry("meta.inf", b"{}")[:-3],
        b"x" * 512 + tar.END,
        entry("link", type=tarfile.SYMTYPE, linkname="/etc/passwd") + tar.END,
        entry("directory", type=tarfile.DIRTYPE) + tar.END,
        entry("device", type=tarfile.CHRTYPE) + tar.END,
        entry("huge")[:124] + b"77777777777\0" + entry("huge")[136:] + tar.END,
        entry("x", b"1 path\n", type=tarfile.XHDTYPE) + tar.END,
        entry("x", b"13 size=-512\n", type=tarfile.XHDTYPE) + entry("y") + tar.END,
    ],
)
def test_a_damaged_tar_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveError):
        untarred(content, most=1 << 20)


def test_a_size_is_judged_before_content_comes() -> None:
    head = entry("msgs/1.blk", bytes(4096))[:512]
    with pytest.raises(ArchiveError, match="too large"):
        untarred(head, most=4095)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "obs/../../x", "obs\\x", "msgs/\0x", "a/.."])
def test_names_that_lead_elsewhere(name: str) -> None:
    assert not files.is_safe(name)


# Records


SEQUENCES = st.integers(0, records.LAST)
RECORDS = st.builds(
    Record, SEQUENCES, st.sampled_from([0, ERASED, TOMBSTONE]), st.integers(-(1 << 62), 1 << 62), st.binary(max_size=9),
    st.binary(max_size=40), st.binary(max_size=80),
)  # fmt: skip


@given(st.lists(RECORDS, max_size=6))
def test_records_are_read_as_they_were_written(found: list[Record]) -> None:
    hashing = records.block_hash("S", 3)
    block = b"".join(records.packed(one, hashing) for one in found)
    assert list(records.unpacked(block, hashing)) == found


def test_records_of_another_block_are_refused() -> None:
    block = records.packed(Record(1, 0, 1, b"s", b"", b"payload"), records.block_hash("S", 1))
    with pytest.raises(ArchiveError, match="checksum"):
        list(records.unpacked(block, records.block_hash("S", 2)))


@given(st.binary(max_size=80), st.integers(0, 1 << 32))
def test_what_is_no_record_is_refused(block: bytes, size: int) -> None:
    hashing = records.block_hash("S", 1)
    for content in (block, struct.pack("<I", size & 0xFFFFFFFF) + block):
        if content:
            with pytest.raises(ArchiveError):
                list(records.unpacked(content, hashing))


# Where consumers stand


class Standing:
    """Stands for a consumer."""

    def __init__(self, given: list[tuple[int, int, int, int, int]], floor: tuple[int, int], last: int) -> None:
        self.start = 1
        self.delivery = self
        self.given, self.place = given, floor
        self.number = self.sequence = last
        self.position = last + 1
        self.selected: list[int] = []

    def standing(self) -> Standing:
        return self

    def floor(self) -> tuple[int, int]:
        return self.place


def given_messages() -> Iterator[tuple[int, int, int, int, int]]:
    for sequence in (5, 6, 90):
        yield sequence, sequence + 1, 1_700_000_000_123_456_789, 1_700_000_030_000_000_000, 1 + sequence // 50


def test_a_consumer_stands_where_it_stood() -> None:
    consumer: Any = Standing(list(given_messages()), (3, 4), 100)
    state, own = places.written(consumer, 100)
    config = ConsumerConfig(ack_wait=7_000_000_000)
    found = places.read(state, own, config)
    assert (found.number, found.sequence, found.position) == (100, 100, 101)
    assert (found.floor_number, found.floor_sequence) == (3, 4)
    assert found.given == list(given_messages())
    # What nats-server writes knows whole seconds, and not when a message is due again.
    found = places.read(state, b"", config)
    moment = 1_700_000_000_000_000_000
    assert found.given == [(one, one + 1, moment, moment + 7_000_000_000, 1 + one // 50) for one in (5, 6, 90)]


def test_an_archive_knows_nothing_of_later_messages() -> None:
    consumer: Any = Standing(list(given_messages()), (3, 4), 100)
    found = places.read(*places.written(consumer, 6), ConsumerConfig())
    assert (found.sequence, found.position, [one[0] for one in found.given]) == (6, 7, [5, 6])


@given(st.binary(max_size=40))
def test_what_is_no_place_is_refused_or_read(content: bytes) -> None:
    try:
        found = places.read(b"\x16\x02" + content, b"", ConsumerConfig())
    except ArchiveError:
        return
    assert found.sequence < 1 << 63


@pytest.mark.parametrize("own", [b"{", b'{"position":-1}', b'{"times":{"1":[1,99999999999999999999]}}'])
def test_a_damaged_document_of_a_place_is_refused(own: bytes) -> None:
    with pytest.raises(ArchiveError):
        places.read(b"", own, ConsumerConfig())
