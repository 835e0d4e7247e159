"""The ledger goes on over seals, segments, crashes and keys, and verification catches whatever is changed in it."""

from __future__ import annotations

import errno
import os
import random
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.nkey import KeyKind, KeyPair
from broker.audit.entry import HEAD, decode, encode, segment_name
from broker.audit.ledger import Event, Ledger, LedgerError, load_key
from broker.audit.verify import entries, verify_ledger

KEY = KeyPair.generate(KeyKind.SERVER)
TAMPERINGS = 1000


def event(number: int) -> Event:
    members: dict[str, object] = {"user": f"user{number}", "target": "orders.<script>", "denial": "1f2e3d4c"}
    return Event(1.7e9 + number, "denied", members)


def written(directory: Path, *, rounds: int = 6, maximum_bytes: int = 1500, keep: int = 0) -> Ledger:
    ledger = Ledger(directory, KEY, maximum_bytes=maximum_bytes, keep=keep)
    ledger.open()
    for number in range(rounds):
        ledger.append([event(number), event(number + 100)])
        ledger.seal()
    ledger.close()
    return ledger


def crash(ledger: Ledger) -> None:
    """Leaves the files as the end of a process does: nothing is sealed, and the kernel closes everything."""
    ledger._let_go()


@given(
    st.dictionaries(
        st.sampled_from(["user", "changes", "cid", "break_glass", "denial"]),
        st.text() | st.integers() | st.booleans() | st.none() | st.lists(st.text(), max_size=3),
    ),
    st.floats(0, 4e9),
)
def test_a_line_says_what_happened(members: dict[str, object], time: float) -> None:
    line = encode(7, "0" * 64, time, "denied", members)
    assert line.isascii()
    assert b"\n" not in line
    said = decode(line)
    assert list(said)[:3] == ["seq", "time", "event"]
    assert list(said)[-1] == "prev"
    told = {name: value for name, value in said.items() if name not in ("seq", "time", "event", "prev")}
    assert told == {name: value for name, value in members.items() if value not in ("", None, [])}
    at = datetime.fromisoformat(str(said["time"])).timestamp()
    assert abs(at - time) <= 1e-6


def test_it_is_proved_to_the_end(tmp_path: Path) -> None:
    written(tmp_path)
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.unsealed == 0
    assert verdict.segments > 1
    assert verdict.sealed == verdict.lines == len(list(entries(tmp_path)))
    assert verdict.keys == [KEY.public]


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    written(tmp_path)
    before = verify_ledger(tmp_path, KEY.public).lines
    written(tmp_path)
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.lines > before + 12


def test_old_segments_go_and_the_rest_is_proved(tmp_path: Path) -> None:
    written(tmp_path, rounds=40, keep=3)
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.segments <= 4
    assert verdict.first > 1
    assert any(one["event"] == "retired" for one in entries(tmp_path))
    (tmp_path / sorted(os.listdir(tmp_path))[0]).unlink()
    assert not verify_ledger(tmp_path, KEY.public).intact


def test_a_leftover_of_retirement_is_ignored_and_removed(tmp_path: Path) -> None:
    written(tmp_path, rounds=40, keep=3)
    (tmp_path / segment_name(1)).write_bytes(b"x\n")
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact
    assert verdict.ignored == [segment_name(1)]
    Ledger(tmp_path, KEY).open()
    assert not (tmp_path / segment_name(1)).exists()


def test_a_crash_leaves_what_was_sealed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, KEY)
    ledger.open()
    ledger.append([event(1)])
    ledger.seal()
    ledger.append([event(2)])
    with (tmp_path / segment_name(1)).open("ab") as stream:
        stream.write(b'{"seq":9,"ti')
    crash(ledger)
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert (verdict.sealed, verdict.unsealed) == (3, 1)
    again = Ledger(tmp_path, KEY)
    again.open()
    again.close()
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.unsealed == 0
    events = [one["event"] for one in entries(tmp_path)]
    assert events == ["opened", "denied", "sealed", "denied", "recovered", "sealed"]


def test_a_crash_before_the_first_line_of_a_segment(tmp_path: Path) -> None:
    written(tmp_path)
    last = verify_ledger(tmp_path, KEY.public).segments
    (tmp_path / segment_name(last + 1)).touch()
    assert verify_ledger(tmp_path, KEY.public).intact
    written(tmp_path, rounds=1)
    assert verify_ledger(tmp_path, KEY.public).intact


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, KEY)
    ledger.open()
    ledger.append([event(1)])
    real, room = os.write, [100]

    def filling(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", filling)
        with pytest.raises(OSError, match="No space"):
            ledger.append([event(2), event(3)])
    ledger.append([event(4)], lost=2)
    ledger.close()
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert [one["event"] for one in entries(tmp_path)] == ["opened", "denied", "lost", "denied", "sealed"]


def test_a_full_disk_begins_no_segment_without_its_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, KEY, maximum_bytes=500)
    ledger.open()
    ledger.append([event(1), event(2)])
    real = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if b'"opened"' in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ledger.seal()
        ledger.append([event(3)])
    assert verify_ledger(tmp_path, KEY.public).segments == 1
    ledger.seal()
    ledger.append([event(4)])
    ledger.close()
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.segments > 1


def test_what_could_not_be_cut_off_is_cut_off_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, KEY)
    ledger.open()
    real = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, data[: len(data) - 50])

    def fail(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="Input"):
            ledger.append([event(1)])
    ledger.append([event(2)])
    ledger.close()
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert [one["event"] for one in entries(tmp_path)] == ["opened", "denied", "sealed"]


@pytest.mark.parametrize("has_head", [True, False])
@pytest.mark.parametrize("maximum_bytes", [1 << 20, 700])
def test_a_server_does_not_go_on_where_the_end_was_taken_off(
    tmp_path: Path, has_head: bool, maximum_bytes: int
) -> None:
    written(tmp_path, maximum_bytes=maximum_bytes)
    last = max(tmp_path.glob("audit-*.jsonl"))
    # The last seal goes, and what it vouches for; with small segments a whole file.
    kept = last.read_bytes().splitlines(keepends=True)[:-4]
    last.write_bytes(b"".join(kept))
    if len(kept) < 4:
        last.unlink()
    if not has_head:
        (tmp_path / HEAD).unlink()
    with pytest.raises(LedgerError, match="Verify the ledger"):
        Ledger(tmp_path, KEY).open()


def test_a_crash_before_the_first_head_is_no_tampering(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, KEY)
    ledger.open()
    ledger.append([event(1)])
    ledger.seal()
    crash(ledger)
    (tmp_path / HEAD).unlink()
    written(tmp_path, rounds=1)
    assert verify_ledger(tmp_path, KEY.public).intact


def test_two_never_write_at_once(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path, KEY), Ledger(tmp_path, KEY)
    first.open()
    first.append([event(1)])
    with pytest.raises(LedgerError) as refused:
        second.open()
    assert str(refused.value) == (
        f"another server writes the audit ledger in {tmp_path}: "
        "end that server first, or name another directory in audit.dir"
    )
    first.append([event(2)])
    first.close()
    second.open()
    second.append([event(3)])
    second.close()
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert [one["event"] for one in entries(tmp_path)] == ["opened", "denied", "denied", "sealed", "denied", "sealed"]


def test_a_ledger_that_was_not_opened_holds_no_lock(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / HEAD).unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match="is missing"):
            Ledger(tmp_path, KEY).open()


def test_a_new_key_needs_the_word_of_the_old_one(tmp_path: Path) -> None:
    written(tmp_path)
    new = KeyPair.generate(KeyKind.SERVER)
    with pytest.raises(LedgerError, match="previous_key"):
        Ledger(tmp_path, new).open()
    ledger = Ledger(tmp_path, new, previous=KEY)
    ledger.open()
    ledger.append([event(7)])
    ledger.close()
    for key in (KEY.public, new.public):
        verdict = verify_ledger(tmp_path, key)
        assert verdict.intact, verdict.problem
    assert verdict.keys == [KEY.public, new.public]
    again = Ledger(tmp_path, new)
    again.open()
    again.append([event(8)])
    again.close()
    assert verify_ledger(tmp_path, KEY.public).intact


def test_another_server_is_not_taken_for_this_one(tmp_path: Path) -> None:
    written(tmp_path)
    other = KeyPair.generate(KeyKind.SERVER).public
    assert "no line is sealed by" in verify_ledger(tmp_path, other).problem


def test_what_a_key_file_holds(tmp_path: Path) -> None:
    key = load_key(tmp_path / "new" / "server.nk")
    assert load_key(tmp_path / "new" / "server.nk").public == key.public
    assert (tmp_path / "new" / "server.nk").stat().st_mode & 0o777 == 0o600
    (tmp_path / "user.nk").write_text(KeyPair.generate(KeyKind.USER).seed)
    (tmp_path / "junk.nk").write_text("SNsecret")
    for name, text in (("user.nk", "another kind"), ("junk.nk", "does not hold")):
        with pytest.raises(LedgerError, match=text) as caught:
            load_key(tmp_path / name)
        assert "SN" + "secret" not in str(caught.value)


def _lines(directory: Path) -> list[tuple[Path, int]]:
    found = []
    for path in sorted(directory.glob("audit-*.jsonl")):
        found += [(path, number) for number in range(path.read_bytes().count(b"\n"))]
    return found


def _edit(source: random.Random, directory: Path) -> str:
    path, number = source.choice(_lines(directory))
    lines = path.read_bytes().splitlines(keepends=True)
    line = bytearray(lines[number])
    place = source.randrange(len(line) - 1)
    line[place] = source.choice([value for value in range(32, 127) if value != line[place]])
    lines[number] = bytes(line)
    path.write_bytes(b"".join(lines))
    return f"byte {place} of {path.name} line {number + 1}"


def _delete(source: random.Random, directory: Path) -> str:
    path, number = source.choice(_lines(directory))
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))
    return f"deleted {path.name} line {number + 1}"


def _swap(source: random.Random, directory: Path) -> str:
    path, number = source.choice([one for one in _lines(directory) if one[1]])
    lines = path.read_bytes().splitlines(keepends=True)
    other = source.randrange(number)
    lines[number], lines[other] = lines[other], lines[number]
    path.write_bytes(b"".join(lines))
    return f"swapped {path.name} lines {other + 1} and {number + 1}"


def _repeat(source: random.Random, directory: Path) -> str:
    path, number = source.choice(_lines(directory))
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(source.randrange(len(lines) + 1), lines[number])
    path.write_bytes(b"".join(lines))
    return f"repeated {path.name} line {number + 1}"


def _truncate(source: random.Random, directory: Path) -> str:
    path = source.choice(sorted(directory.glob("audit-*.jsonl")))
    size = source.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut {path.name} to {size} bytes"


def _remove(source: random.Random, directory: Path) -> str:
    path = source.choice([*sorted(directory.glob("audit-*.jsonl")), directory / HEAD])
    path.unlink()
    return f"removed {path.name}"


def _exchange(source: random.Random, directory: Path) -> str:
    one, other = source.sample(sorted(directory.glob("audit-*.jsonl")), 2)
    one.rename(directory / "x")
    other.rename(one)
    (directory / "x").rename(other)
    return f"exchanged {one.name} and {other.name}"


def _edit_head(source: random.Random, directory: Path) -> str:
    path = directory / HEAD
    line = bytearray(path.read_bytes())
    place = source.randrange(len(line))
    line[place] = source.choice([value for value in range(32, 127) if value != line[place]])
    path.write_bytes(line)
    return f"byte {place} of {HEAD}"


def _end(source: random.Random, directory: Path) -> str:
    """Takes whole lines off the end, as whoever wants to hide what came last would."""
    paths = sorted(directory.glob("audit-*.jsonl"))
    lines = paths[-1].read_bytes().splitlines(keepends=True)
    keep = source.randrange(len(lines))
    paths[-1].write_bytes(b"".join(lines[:keep]))
    return f"kept {keep} of {len(lines)} lines of {paths[-1].name}"


def test_every_tampering_is_caught(tmp_path: Path) -> None:
    source = random.Random(20261128)
    original = tmp_path / "original"
    written(original, rounds=12, keep=3)
    assert verify_ledger(original, KEY.public).intact
    kinds = [_edit, _delete, _swap, _repeat, _truncate, _remove, _exchange, _edit_head, _end]
    contents = {path.name: path.read_bytes() for path in original.iterdir()}
    for number in range(TAMPERINGS):
        what = kinds[number % len(kinds)](source, original)
        assert not verify_ledger(original, KEY.public).intact, what
        for name, content in contents.items():
            (original / name).write_bytes(content)
    assert verify_ledger(original, KEY.public).intact
