"""The demo's directory: made once, reused, completed after an interruption, and never made inside something else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from auth.creds import parse_creds
from broker.checked import check
from broker.config.load import load
from tools.nsk.errors import StoreError
from tools.quickstart.certificates import Outcome
from tools.quickstart.demo import Demo, DemoError

THINGS = [
    "operator demo",
    "account ACME, user app",
    "account GLOBEX, user app",
    "development CA",
    "server certificate",
    "configuration",
]


def ensure(demo: Demo) -> dict[str, str]:
    """What became of each thing; and whatever it was, the server can start with it."""
    made = demo.ensure(4222, 8222)
    assert all(entry.path.exists() for entry in made)
    check(load(str(demo.configuration)).options)
    for account in ("ACME", "GLOBEX"):
        parse_creds(demo.creds(account).read_text())
    return {entry.what: entry.outcome.value for entry in made}


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    made = Demo(tmp_path / "natskeep-demo")
    assert ensure(made) == dict.fromkeys(THINGS, "made")
    return made


def test_it_is_reused_byte_by_byte(demo: Demo) -> None:
    before = contents(demo.directory)
    assert ensure(demo) == dict.fromkeys(THINGS, "reused")
    assert contents(demo.directory) == before


def test_everything_is_for_its_owner_alone(demo: Demo) -> None:
    for path in (demo.directory, *demo.directory.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_modes_do_not_hang_on_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        demo = Demo(tmp_path / "natskeep-demo")
        ensure(demo)
    finally:
        os.umask(before)
    test_everything_is_for_its_owner_alone(demo)


def test_the_configuration_is_the_owner_s(demo: Demo) -> None:
    demo.configuration.write_text(demo.configuration.read_text() + "max_payload: 2KB\n")
    assert ensure(demo)["configuration"] == "reused"
    assert load(str(demo.configuration)).options.max_payload == 2048


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ("nsk/creds/demo/ACME/app.creds", "account ACME, user app"),
        ("nsk/creds", "account GLOBEX, user app"),
        ("nsk/demo/accounts/ACME/ACME.jwt", "account ACME, user app"),
        ("nsk/demo/accounts/GLOBEX", "account GLOBEX, user app"),
        ("nsk/demo/accounts/GLOBEX/users", "account GLOBEX, user app"),
        ("tls", "server certificate"),
        ("server.conf", "configuration"),
        ("nsk", "operator demo"),
    ],
)
def test_what_is_lost_is_made_anew(lost: str, what: str, demo: Demo) -> None:
    path = demo.directory / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert ensure(demo)[what] in {"made", "renewed"}
    assert ensure(demo) == dict.fromkeys(THINGS, "reused")


def test_changes_made_with_the_account_tool_reach_the_server(demo: Demo) -> None:
    shutil.rmtree(demo.home / "demo" / "accounts" / "SYS" / "users")
    before = len(load(str(demo.configuration)).options.resolver_preload)
    shutil.rmtree(demo.home / "demo" / "accounts" / "ACME")
    ensure(demo)
    assert len(load(str(demo.configuration)).options.resolver_preload) == before


def test_creds_that_are_not_the_user_s_are_renewed(demo: Demo) -> None:
    path = demo.creds("ACME")
    path.write_bytes(demo.creds("GLOBEX").read_bytes())
    assert ensure(demo)["account ACME, user app"] == Outcome.RENEWED.value
    assert path.read_bytes() != demo.creds("GLOBEX").read_bytes()


class _Interruption(BaseException):
    """Ends the process at this place, for all that the code can tell."""


@pytest.mark.parametrize("step", range(0, 55, 3))
def test_an_interrupted_run_is_completed_by_the_next(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Demo(tmp_path / "natskeep-demo")
    left = step
    flush = os.fsync

    def interrupted(descriptor: int) -> None:
        nonlocal left
        if left == 0:
            raise _Interruption
        left -= 1
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(_Interruption):
            demo.ensure(4222, 8222)
    # A killed process does not even remove its temporary files.
    if demo.certificates.directory.is_dir():
        (demo.certificates.directory / ".ca-key.pem.0123456789abcdef.tmp").write_text("half a key")
    (demo.directory / ".nsk.0123456789abcdef.unfinished").mkdir()
    ensure(demo)
    assert not [name for name in contents(demo.directory) if "tmp" in name or "unfinished" in name]
    assert ensure(demo) == dict.fromkeys(THINGS, "reused")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ensure(Demo(tmp_path))
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_another_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("a year of work")
    with pytest.raises(DemoError, match="holds other files and no demo; choose another with --directory"):
        Demo(tmp_path).ensure(4222, 8222)
    assert contents(tmp_path) == {"thesis.txt": b"a year of work"}


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(DemoError, match="is no directory"):
        Demo(path).ensure(4222, 8222)


def test_a_store_without_the_operator_is_refused(demo: Demo) -> None:
    shutil.rmtree(demo.home / "demo")
    with pytest.raises(DemoError, match="holds no operator named demo; move it away"):
        demo.ensure(4222, 8222)


def test_a_lost_seed_is_named(demo: Demo) -> None:
    shutil.rmtree(demo.home / "keys" / "U")
    with pytest.raises(StoreError, match="the private key of user"):
        demo.ensure(4222, 8222)


@pytest.mark.parametrize("name", ["with space", 'quo"te', "back\\slash", "dollar$HOME", "ünï", "#hash"])
def test_directories_of_any_name(name: str, tmp_path: Path) -> None:
    demo = Demo(tmp_path / name)
    ensure(demo)
    tls = load(str(demo.configuration)).options.tls
    assert tls is not None
    assert tls.cert_file == str(demo.certificates.certificate_path("server"))


def test_a_name_that_no_configuration_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="cannot stand in a configuration file"):
        Demo(tmp_path / "line\nbreak").ensure(4222, 8222)
