"""The Unix socket: its file belongs to whom it should at every moment, and what is in use is never taken away."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.evidence import LocalPeer
from broker.config.options import UnixOptions
from broker.net.listener import ListenError
from broker.net.unix import LONGEST_PATH, UnixListener, UnixSocket, peer_of
from tests.support.connections import Network


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for a name, which those of tests do not always."""
    with tempfile.TemporaryDirectory(prefix="nk") as made:
        yield Path(made)


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "n.sock"


def opened(path: Path, mode: int = 0o600, group: str = "") -> UnixSocket:
    """A socket in its place."""
    made = UnixSocket.open(UnixOptions(path=str(path), mode=mode, group=group))
    made.place()
    return made


def dial(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    return client


def crowd(path: Path) -> list[socket.socket]:
    """Clients that wait, as many as there is room for."""
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        waiting.append(client)
        client.setblocking(False)
        if client.connect_ex(str(path)):
            return waiting


def left(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o000])
def test_it_has_its_mode_whatever_the_mask(path: Path, mode: int) -> None:
    mask = os.umask(0o077)
    try:
        made = opened(path, mode)
    finally:
        os.umask(mask)
    status = path.lstat()
    assert (stat.S_ISSOCK(status.st_mode), stat.S_IMODE(status.st_mode)) == (True, mode)
    made.close()
    assert left(path.parent) == set()


def test_nobody_can_find_it_before_it_has_its_mode_and_listens(path: Path) -> None:
    """Until it is in its place it lies where only its owner can come, and then it is complete."""
    made = UnixSocket.open(UnixOptions(path=str(path), mode=0o640))
    [private] = [entry for entry in path.parent.iterdir() if entry.is_dir()]
    assert not path.exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    [file] = private.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    with dial(file):
        made.place()
    assert left(path.parent) == {"n.sock", "n.sock.lock"}
    with dial(path):
        made.close()
    assert left(path.parent) == set()


def test_its_group(path: Path) -> None:
    """By name and by number: one that whoever runs this may give it to."""
    number = os.getgid()
    for group in (str(number), grp.getgrgid(number).gr_name):
        made = opened(path, 0o660, group)
        assert path.lstat().st_gid == number
        made.close()


def test_who_is_at_the_other_end(path: Path) -> None:
    made = opened(path)
    with dial(path):
        accepted, _ = made.sock.accept()
        with accepted:
            assert peer_of(accepted) == LocalPeer(os.getuid(), os.getgid(), os.getpid())
    made.close()


def test_of_whom_nothing_is_known_nothing_is_said() -> None:
    with socket.socket() as tcp:
        assert peer_of(tcp) is None or peer_of(tcp) == LocalPeer(2**32 - 1, 2**32 - 1, 0)


# What is there already.


def test_what_a_killed_server_left_is_replaced(path: Path) -> None:
    """A real one: killed, so that it could not tidy up."""
    program = (
        "import sys, time; from broker.config.options import UnixOptions; from broker.net.unix import UnixSocket\n"
        "made = UnixSocket.open(UnixOptions(path=sys.argv[1])); made.place(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        with pytest.raises(ListenError, match="another server has it"):
            opened(path)
        killed.kill()
    assert left(path.parent) == {"n.sock", "n.sock.lock"}
    made = opened(path)
    with dial(path):
        pass
    made.close()
    assert left(path.parent) == set()


def test_one_that_somebody_listens_at_stays(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen(1)
        with pytest.raises(ListenError, match="another process listens there; stop it"):
            opened(path)
        assert left(path.parent) == {"n.sock"}
        # With so many waiting that no more are let wait, it is as much in use.
        waiting = crowd(path)
        with pytest.raises(ListenError, match="another process listens there"):
            opened(path)
        for one in waiting:
            one.close()


@pytest.mark.parametrize("what", ["file", "directory", "link"])
def test_what_is_no_socket_stays(path: Path, what: str) -> None:
    if what == "file":
        path.write_text("precious")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(ListenError, match="no socket; remove it"):
        opened(path)
    assert path.is_symlink() or path.exists()
    assert left(path.parent) == {"n.sock"}
    if what == "directory":
        path.rmdir()


def test_a_lock_that_is_a_link_is_not_followed(path: Path, directory: Path) -> None:
    victim = directory / "victim"
    victim.write_text("precious")
    (directory / "n.sock.lock").symlink_to(victim)
    with pytest.raises(ListenError):
        opened(path)
    assert victim.read_text() == "precious"


def test_at_the_end_another_s_file_stays(path: Path) -> None:
    """Somebody removed ours and put his there; and who has ended does not end again."""
    made = opened(path)
    path.rename(path.with_name("moved"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        made.close()
        assert left(path.parent) == {"n.sock", "moved"}
        made.close()
        assert left(path.parent) == {"n.sock", "moved"}


@pytest.mark.parametrize(
    ("name", "group", "error"),
    [
        ("nowhere/n.sock", "", "nowhere is no directory; make it"),
        ("x" * LONGEST_PATH, "", "bytes too long"),
        ("n.sock", "no such group", "this machine has no group no such group"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(directory: Path, name: str, group: str, error: str) -> None:
    with pytest.raises(ListenError, match=error) as raised:
        opened(directory / name, group=group)
    assert str(raised.value).startswith(f"listen unix {directory}/")
    assert left(directory) == set()


# Another one in its place.


def test_another_one_takes_its_place_without_a_gap(path: Path) -> None:
    before = opened(path, 0o600)
    after = UnixSocket.open(UnixOptions(path=str(path), mode=0o666), before)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    after.place(before)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o666
    before.close()
    with dial(path), pytest.raises(ListenError, match="another server has it"):
        opened(path)
    after.close()
    assert left(path.parent) == set()


def test_one_that_is_not_wanted_after_all_leaves_the_first_as_it_was(path: Path) -> None:
    before = opened(path)
    UnixSocket.open(UnixOptions(path=str(path), mode=0o666), before).discard(before)
    other = path.with_name("other")
    UnixSocket.open(UnixOptions(path=str(other)), before).discard(before)
    assert left(path.parent) == {"n.sock", "n.sock.lock"}
    with dial(path), pytest.raises(ListenError, match="another server has it"):
        opened(path)
    before.close()


def test_who_waits_is_taken_when_it_gives_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, unix=UnixOptions(path=str(path)))
    listener = UnixListener(network.service, opened(path))
    clients = [dial(path) for _ in range(100)]
    listener.give_way()
    assert len(network.service.connections) == len(clients)
    assert {one.session.address for one in network.service.connections.values()} == {f"unix:uid={os.getuid()}"}
    assert left(path.parent) == set()
    for client in clients:
        client.close()
    network.loop.settle()
    network.end()
