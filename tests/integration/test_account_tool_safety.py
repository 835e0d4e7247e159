"""The account tool cut off and run in crowds: the store is before or after a command, and never mixed up."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from auth.creds import parse_creds
from auth.nkey import KeyPair
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.__main__ import main
from tools.nsk.keystore import KeyStore
from tools.nsk.store import Store
from tools.nsk.transaction import settle

PARALLEL = 50
KILLED = 200
_STEPS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir")
_KEY = re.compile(r"[OAUX][A-Z2-7]{55}")
_SHARD = re.compile(r"(keys/[OAUX])/[A-Z2-7]{2}(?=/|$)")

_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("add", "account", "NEW"),
    ("add", "user", "new", "-a", "A"),
    ("add", "user", "new", "-a", "B", "--allow-pub", "x.>", "--tag", "t"),
    ("edit", "account", "A", "--sk", "generate", "--conns", "7"),
    ("edit", "user", "u1", "-a", "A", "--allow-sub", "y"),
    ("edit", "signing-key", "-a", "A", "--sk", "generate", "--role", "r", "--allow-pub", "z"),
    ("edit", "operator", "--sk", "generate", "--service-url", "nats://localhost"),
    ("delete", "user", "-n", "u1,u2", "-a", "A", "--revoke", "--rm-creds", "--rm-nkey"),
    ("delete", "account", "A", "--rm-creds", "--rm-nkey"),
    ("revocations", "add-user", "-a", "A", "-n", "u1"),
    ("generate", "nkey", "-o", "-a", "-u", "--store"),
    ("add", "operator", "P", "--generate-signing-key", "--sys"),
    ("rename", "account", "A", "Z", "--OK"),
    ("reissue", "operator"),
)


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    tool = tool_at(tmp_path, capsys, monkeypatch)
    for account in ("A", "B"):
        tool.ok("add", "account", account)
        for user in ("u1", "u2"):
            tool.ok("add", "user", user, "-a", account)
    return tool


def forked(run: Callable[[], int]) -> int:
    """Run in a copy of this process, silently; its process id."""
    pid = os.fork()
    if pid:
        return pid
    silent = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silent, descriptor)
    code = 70
    try:
        code = run()
    finally:
        os._exit(code)


def watch_steps(step: Callable[[], None]) -> None:
    """Let something happen in this process before each call that touches the disk."""

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            step()
            return function(*arguments, **named)

        return wrapped

    for name in _STEPS:
        setattr(os, name, watched(getattr(os, name)))


def counted(words: list[str], result: Path) -> int:
    """Run a command and write down how many steps it took."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    watch_steps(step)
    code = main(words)
    result.write_text(str(steps))
    return code


def killed(words: list[str], after: int) -> int:
    """Run a command and be killed at the step that follows so many."""
    left = after

    def step() -> None:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    watch_steps(step)
    return main(words)


def tree(home: Path) -> dict[str, str]:
    """Every file with its text."""
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


def shape(home: Path) -> list[str]:
    """Every file and directory, whatever the keys are. Two keys may share a directory by chance."""
    names = (_KEY.sub("K", str(path.relative_to(home))) for path in home.rglob("*"))
    return sorted(_SHARD.sub(r"\1/XX", name) for name in names if not _SHARD.fullmatch(name))


def check(home: Path) -> None:
    """Every JWT, seed and creds file is whole, and they fit together."""
    keystore = KeyStore(home)
    for path in home.glob("keys/*/*/*.nk"):
        assert KeyPair.from_seed(path.read_text()).public == path.stem
    for name in (path.parent.name for path in home.glob("*/.nsc")):
        store = Store.open(home, name, keystore)
        operator = store.operator()
        for account in store.accounts():
            claims = store.account(account)
            assert operator.did_sign(claims)
            for user in store.users(account):
                assert claims.did_sign(store.user(account, user))
                token, seed = parse_creds(store.creds_path(account, user).read_text())
                assert token == store.user_token(account, user)
                assert KeyPair.from_seed(seed).public == store.user(account, user).subject


def test_killed_at_any_point(tool: Tool, tmp_path: Path) -> None:
    source = random.Random(20261128)
    start = tmp_path / "start"
    shutil.copytree(tool.home, start)
    before = tree(start)
    outcomes = {"before": 0, "after": 0}
    shapes: dict[tuple[str, ...], list[str]] = {}
    lengths: dict[tuple[str, ...], int] = {}
    for number in range(KILLED):
        command = _COMMANDS[number % len(_COMMANDS)]
        home = tmp_path / "killed" / str(number)
        shutil.copytree(start, home)
        words = ["-H", str(home), *command]
        if command not in shapes:
            status = os.waitpid(forked(partial(counted, words, tmp_path / "steps")), 0)[1]
            assert os.waitstatus_to_exitcode(status) == 0, command
            shapes[command], lengths[command] = shape(home), int((tmp_path / "steps").read_text())
            home = shutil.copytree(start, home.with_name(f"{number}-again"))
            words[1] = str(home)
        status = os.waitpid(forked(partial(killed, words, source.randrange(lengths[command]))), 0)[1]
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, command
        settle((home,))
        found = tree(home)
        if found == before:
            outcomes["before"] += 1
        else:
            assert shape(home) == shapes[command], command
            outcomes["after"] += 1
        check(home)
    assert min(outcomes.values()) > KILLED // 20, outcomes


def test_a_migration_killed_at_any_point(tool: Tool, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(tool.home, start)
    for account in ("A", "B"):
        (start / "O" / "old").mkdir(exist_ok=True)
        for path in (start / "creds" / "O" / account).iterdir():
            target = start / "O" / "accounts" / account / "users" / path.name
            shutil.move(path, target)
    for path in start.glob("keys/*/*/*.nk"):
        shutil.move(path, start / "O" / "old" / path.name)
    before = tree(start)
    status = os.waitpid(forked(partial(counted, ["-H", str(start), "keys", "migrate"], tmp_path / "steps")), 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0
    assert not KeyStore(start).needs_migration()
    seeds = {path.name: path.read_text() for path in start.rglob("*.nk")}
    check(start)
    (moved,) = tmp_path.glob("start_*")
    shutil.copytree(moved, start, dirs_exist_ok=True)
    for directory in ("keys", "creds"):
        shutil.rmtree(start / directory)
    outcomes = {True: 0, False: 0}
    for number in range(0, int((tmp_path / "steps").read_text()), 7):
        home = shutil.copytree(start, tmp_path / "killed" / str(number))
        status = os.waitpid(forked(partial(killed, ["-H", str(home), "keys", "migrate"], number)), 0)[1]
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        settle((home,))
        needs = KeyStore(home).needs_migration()
        outcomes[needs] += 1
        if needs:
            assert tree(home).items() >= {name: text for name, text in before.items() if "creds/" not in name}.items()
        else:
            assert {path.name: path.read_text() for path in home.rglob("*.nk")} == seeds
            check(home)
    assert all(outcomes.values())


def test_fifty_at_once(tool: Tool) -> None:
    def one(number: int) -> int:
        if number % 5:
            return main(["-H", str(tool.home), "add", "user", f"many{number}", "-a", "A"])
        return main(["-H", str(tool.home), "edit", "account", "A", "--sk", "generate", "--tag", f"t{number}"])

    children = [forked(partial(one, number)) for number in range(PARALLEL)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * PARALLEL
    claims = tool.claims("account", "A")["nats"]
    edits = PARALLEL // 5
    assert len(claims["signing_keys"]) == edits
    assert sorted(claims["tags"]) == sorted(f"t{number}" for number in range(0, PARALLEL, 5))
    store = Store.open(tool.home, "O", KeyStore(tool.home))
    assert len(store.users("A")) == 2 + PARALLEL - edits
    check(tool.home)
