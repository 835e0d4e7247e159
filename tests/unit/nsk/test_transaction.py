"""Transactions: reads see what was changed, an error changes nothing, and a crash leaves before or after."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.nsk import journal
from tools.nsk.errors import StoreError
from tools.nsk.transaction import Files, settle

Tree = dict[str, str | None]


def tree(directory: Path) -> Tree:
    """Every file with its text and every directory with None."""
    return {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else None for path in directory.rglob("*")
    }


def homes(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "stores", tmp_path / "keys"


def fill(tmp_path: Path) -> None:
    files = Files()
    account = "stores/O/accounts/A"
    for name in ("stores/O/O.jwt", f"{account}/A.jwt", f"{account}/users/u.jwt", "keys/keys/A/XX/a.nk"):
        files.write(tmp_path / name, f"old {name}")
    files.make_directory(tmp_path / "stores/O/empty")


def change(files: Files, tmp_path: Path) -> None:
    files.write(tmp_path / "stores/O/O.jwt", "new")
    files.remove_tree(tmp_path / "stores/O/accounts/A")
    files.write(tmp_path / "stores/O/accounts/B/B.jwt", "B")
    files.write(tmp_path / "keys/keys/A/YY/b.nk", "SUA-secret")
    files.remove(tmp_path / "keys/keys/A/XX/a.nk")
    files.make_directory(tmp_path / "stores/O/made")
    files.write(tmp_path / "config/nsc.json", "{}")


def test_changes_are_seen_inside_and_nowhere_else(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tree(tmp_path)
    files = Files()
    with files.transaction(*homes(tmp_path)):
        change(files, tmp_path)
        assert files.read(tmp_path / "stores/O/O.jwt") == "new"
        assert files.read(tmp_path / "stores/O/accounts/A/A.jwt") is None
        assert files.names(tmp_path / "stores/O/accounts") == ["B"]
        assert files.names(tmp_path / "stores/O") == ["O.jwt", "accounts", "empty", "made"]
        assert not files.is_directory(tmp_path / "stores/O/accounts/A")
        assert files.is_directory(tmp_path / "stores/O/made")
        assert tree(tmp_path) == before
    assert tree(tmp_path) != before
    assert (tmp_path / "keys/keys/A/YY/b.nk").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "stores/O/made").stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.rglob(f"{journal.NAME}*"))


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tree(tmp_path)
    files = Files()

    def refused() -> None:
        with files.transaction(*homes(tmp_path)):
            change(files, tmp_path)
            raise StoreError("no")

    with pytest.raises(StoreError):
        refused()
    assert tree(tmp_path) == before
    assert files.read(tmp_path / "stores/O/O.jwt") == "old stores/O/O.jwt"


def test_what_was_committed_midway_stays(tmp_path: Path) -> None:
    files = Files()

    def refused() -> None:
        with files.transaction(*homes(tmp_path)):
            files.write(tmp_path / "stores/a", "a")
            files.commit()
            files.write(tmp_path / "stores/b", "b")
            raise StoreError("no")

    with pytest.raises(StoreError):
        refused()
    assert tree(tmp_path / "stores") == {"a": "a"}


def test_one_inside_another_belongs_to_the_outer_one(tmp_path: Path) -> None:
    files = Files()

    def refused() -> None:
        with files.transaction(*homes(tmp_path)):
            with files.transaction(*homes(tmp_path)):
                files.write(tmp_path / "stores/a", "a")
            raise StoreError("no")

    with pytest.raises(StoreError):
        refused()
    assert not (tmp_path / "stores/a").exists()


def test_a_moved_file(tmp_path: Path) -> None:
    fill(tmp_path)
    files = Files()
    with files.transaction(*homes(tmp_path)):
        files.move(tmp_path / "stores/O/O.jwt", tmp_path / "stores/P/P.jwt")
        with pytest.raises(FileNotFoundError):
            files.move(tmp_path / "stores/O/O.jwt", tmp_path / "stores/Q")
    assert (tmp_path / "stores/P/P.jwt").read_text() == "old stores/O/O.jwt"
    assert not (tmp_path / "stores/O/O.jwt").exists()


_CHILD = """
import os, signal, sys
from pathlib import Path
from tests.unit.nsk.test_transaction import change, homes
from tools.nsk.transaction import Files

left = [int(sys.argv[2])]

def dying(function):
    def wrapped(*arguments, **named):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return function(*arguments, **named)
    return wrapped

for name in ("open", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))
for point in range(int(sys.argv[2]), 10_000):
    pid = os.fork()
    if not pid:
        left[0] = point
        directory = Path(sys.argv[1]) / str(point)
        files = Files()
        with files.transaction(*homes(directory)):
            change(files, directory)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print(point, flush=True)
    if os.WIFEXITED(status):
        break
    (Path(sys.argv[1]) / str(point + 1)).is_dir() or sys.exit(3)
"""


def test_a_crash_at_any_point(tmp_path: Path) -> None:
    for point in range(120):
        fill(tmp_path / str(point))
    before = tree(tmp_path / "0")
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path), "0"], capture_output=True, text=True, check=False, timeout=60
    )
    points = [int(line) for line in child.stdout.split()]
    assert child.returncode == 0, child.stderr
    assert len(points) > 30
    after = tree(tmp_path / str(points[-1]))
    seen = []
    for point in points:
        directory = tmp_path / str(point)
        # A reader with either home alone sees to it.
        settle(homes(directory)[:1] if point % 2 else homes(directory)[1:])
        settle(homes(directory))
        found = tree(directory)
        if found != after:
            found = {path: text for path, text in found.items() if path != "config"}
        assert found in (before, after), point
        seen.append(found == after)
    assert not seen[0]
    assert seen[-2]
    assert seen == sorted(seen)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    before = tree(tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    files = Files()

    def filled_up(patch: pytest.MonkeyPatch) -> None:
        with files.transaction(*homes(tmp_path)):
            change(files, tmp_path)
            patch.setattr(os, "fsync", fail)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        filled_up(patch)
    assert tree(tmp_path) == before


def test_what_could_not_be_finished_is_said_to_stand_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    real = journal.replace_file

    def full(path: Path, text: str, temporary: Path, *, flush: bool = True) -> None:
        if path.name == "b.nk":
            raise OSError(28, "No space left on device")
        real(path, text, temporary, flush=flush)

    files = Files()

    def filled_up(patch: pytest.MonkeyPatch) -> None:
        with files.transaction(*homes(tmp_path)):
            change(files, tmp_path)
            patch.setattr(journal, "replace_file", full)

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"no space .* stands in .*the next command"):
        filled_up(patch)
    assert settle(homes(tmp_path))
    assert tree(tmp_path)["keys/keys/A/YY/b.nk"] == "SUA-secret"


def test_a_directory_that_takes_nothing_is_found_out_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    before = tree(tmp_path)
    closed = tmp_path / "stores/O/accounts"
    files = Files()

    def refused(patch: pytest.MonkeyPatch) -> None:
        with files.transaction(*homes(tmp_path)):
            change(files, tmp_path)
            # Whoever runs the tests may be allowed everything.
            patch.setattr(os, "access", lambda path, mode: path != closed)

    with monkeypatch.context() as patch, pytest.raises(PermissionError, match="stores/O/accounts"):
        refused(patch)
    assert tree(tmp_path) == before


def test_a_journal_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_text("{")
    with pytest.raises(StoreError, match="journal of an interrupted command"):
        settle((tmp_path,))


def test_seeds_are_never_written_outside_of_the_keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    seen: dict[Path, str] = {}
    real = journal.replace_file

    def noted(path: Path, text: str, temporary: Path, *, flush: bool = True) -> None:
        seen[path] = text
        real(path, text, temporary, flush=flush)

    monkeypatch.setattr(journal, "replace_file", noted)
    files = Files()
    with files.transaction(*homes(tmp_path)):
        change(files, tmp_path)
    holders = {path.relative_to(tmp_path).parts[0] for path, text in seen.items() if "SUA-secret" in text}
    assert holders == {"keys"}


def test_transactions_come_one_after_the_other(tmp_path: Path) -> None:
    begun, entered, order = threading.Event(), threading.Event(), []

    def other() -> None:
        begun.set()
        files = Files()
        with files.transaction(*homes(tmp_path)):
            entered.set()
            order.append(files.read(tmp_path / "stores/a"))

    files = Files()
    thread = threading.Thread(target=other)
    with files.transaction(*homes(tmp_path)):
        thread.start()
        assert begun.wait(10)
        files.write(tmp_path / "stores/a", "a")
        assert not entered.is_set()
    thread.join(10)
    assert order == ["a"]


def test_one_directory_may_be_all_homes(tmp_path: Path) -> None:
    files = Files()
    with files.transaction(tmp_path, tmp_path):
        files.write(tmp_path / "a", "a")
        files.write(tmp_path / "b", "b")
    assert tree(tmp_path) == {"a": "a", "b": "b"}


_NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "f/a"])
_STEPS = st.lists(st.tuples(st.sampled_from(["write", "remove", "remove_tree", "make_directory"]), _NAMES), max_size=12)


@given(_STEPS, _STEPS)
@settings(max_examples=150, deadline=None)
def test_an_overlay_is_like_the_disk(tmp_path_factory: pytest.TempPathFactory, first: object, second: object) -> None:
    assert isinstance(first, list)
    assert isinstance(second, list)
    plain, overlaid = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("overlaid")
    direct, files = Files(), Files()

    def apply(target: Files, root: Path, steps: list[tuple[str, str]]) -> None:
        for number, (step, name) in enumerate(steps):
            path = root / name
            action: Callable[..., object] = getattr(target, step)
            if step == "write":
                if not target.is_directory(path) and not any(target.is_file(up) for up in path.parents):
                    action(path, f"{step} {number}")
            elif step == "make_directory":
                if not any(target.is_file(up) for up in (path, *path.parents)):
                    action(path)
            else:
                action(path)

    def view(target: Files, root: Path, directory: Path) -> Tree:
        found: Tree = {}
        for name in target.names(directory):
            path = directory / name
            found[str(path.relative_to(root))] = target.read(path) if target.is_file(path) else None
            if target.is_directory(path):
                found |= view(target, root, path)
        return found

    apply(direct, plain, first)
    apply(direct, overlaid, first)
    with files.transaction(overlaid):
        apply(direct, plain, second)
        apply(files, overlaid, second)
        assert view(files, overlaid, overlaid) == tree(plain)
    assert tree(overlaid) == tree(plain)
