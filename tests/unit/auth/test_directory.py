"""A directory of account JWTs: what lies in it, what is written and removed, and what is refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims
from auth.nkey import KeyKind, KeyPair
from auth.resolver import StoreError
from auth.resolver.directory import DirectoryResolver, UnreadableError, check_directory
from auth.resolver.index import DIGEST_SIZE, FullError, Index

OPERATOR = KeyPair.generate(KeyKind.OPERATOR)
NAMES = sorted(KeyPair.generate(KeyKind.ACCOUNT).public for _ in range(4))
FIRST, SECOND, THIRD, FOURTH = NAMES


def token_of(name: str, *, label: str = "", expires_at: int = 0) -> str:
    claims = AccountClaims.new(name)
    claims.name, claims.expires_at = label, expires_at
    return jwt.encode(claims, OPERATOR)


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def resolver_in(path: Path, **limits: float) -> DirectoryResolver:
    clock = Clock()
    index = Index(
        limit=int(limits.get("limit", 0)), evicts=bool(limits.get("evicts")), ttl=limits.get("ttl", 0.0), clock=clock
    )
    made = DirectoryResolver(str(path), index, keeps_all=not limits.get("evicts"))
    made.open()
    return made


def files(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_one_file_for_each_account_as_nats_server_has_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "jwt"
    resolver = resolver_in(path)
    resolver.store(FIRST, token_of(FIRST))
    assert files(path) == [f"{FIRST}.jwt"]
    assert (path / f"{FIRST}.jwt").read_text() == resolver.lookup(FIRST)
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / f"{FIRST}.jwt").stat().st_mode & 0o777 == 0o600
    assert resolver_in(path).lookup(FIRST) == resolver.lookup(FIRST)


def test_names_are_read_at_the_start_and_tokens_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / f"{FIRST}.jwt").write_text(token_of(FIRST) + "\n")
    resolver = resolver_in(tmp_path)
    assert (list(resolver.index), resolver.loaded()) == ([FIRST], [])
    assert resolver.lookup(FIRST) == (tmp_path / f"{FIRST}.jwt").read_text().strip()
    assert resolver.loaded() == [FIRST]


def test_files_that_are_no_accounts_are_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("notes.jwt", f"{OPERATOR.public}.jwt", f"{FIRST}.jwt.deleted", f".{FIRST}.new", "README"):
        (tmp_path / name).write_text(token_of(FIRST))
    with caplog.at_level(logging.WARNING, "natskeep.resolver"):
        assert list(resolver_in(tmp_path).index) == []
    told = sorted(record.getMessage() for record in caplog.records)
    assert told == sorted(
        f"{str(tmp_path / name)!r} is no JWT of an account, it is skipped"
        for name in ("notes.jwt", f"{OPERATOR.public}.jwt")
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no JWT: expected 3 chunks"),
        (b"\xff\xfe", "holds no JWT: token is not ASCII"),
        (b"a.b.c", "holds no JWT: token is not a well-formed JWT"),
        (token_of(SECOND).encode(), "holds the JWT of another account"),
        (b"x" * (1024 * 1024 + 1), "holds no JWT: token size 1048577 exceeds maximum"),
    ],
)
def test_what_cannot_be_used_is_named_and_its_account_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, why: str
) -> None:
    (tmp_path / f"{FIRST}.jwt").write_bytes(content)
    (tmp_path / f"{SECOND}.jwt").write_text(token_of(SECOND))
    resolver = resolver_in(tmp_path)
    with caplog.at_level(logging.ERROR, "natskeep.resolver"):
        assert resolver.lookup(FIRST) is None
    assert f"{tmp_path / FIRST}.jwt {why}" in caplog.text
    assert resolver.lookup(SECOND) is not None
    assert list(resolver.index) == [SECOND]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{FIRST}.jwt").mkdir()
    with caplog.at_level(logging.ERROR, "natskeep.resolver"):
        assert resolver_in(tmp_path).lookup(FIRST) is None
    assert f"{tmp_path / FIRST}.jwt cannot be read: is a directory; its account is refused" in caplog.text


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A/../../x", f"{FIRST}/..", f"../{FIRST}", "*"])
def test_cve_2022_28357_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    """The name of an account that was stored could lead out of the directory. Only an account's key is a name."""
    inside = tmp_path / "jwt"
    resolver = resolver_in(inside)
    assert resolver.lookup(name) is None
    for work in (resolver.file, resolver.remove):
        with pytest.raises(StoreError, match="invalid public key"):
            work(name)
    with pytest.raises(StoreError, match="invalid public key"):
        resolver.store(name, token_of(FIRST))
    assert files(tmp_path) == ["jwt"]
    assert files(inside) == []


def test_removing(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path)
    for name in (FIRST, SECOND):
        resolver.store(name, token_of(name))
    resolver.remove(FIRST)
    resolver.remove(SECOND, softly=True)
    resolver.remove(THIRD)
    assert files(tmp_path) == [f"{SECOND}.jwt.deleted"]
    assert resolver_in(tmp_path).lookup(SECOND) is None


def test_a_write_that_fails_leaves_the_token_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = resolver_in(tmp_path)
    resolver.store(FIRST, token_of(FIRST, label="before"))
    before = resolver.lookup(FIRST)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left on device"):
        resolver.store(FIRST, token_of(FIRST, label="after"))
    assert (files(tmp_path), resolver.lookup(FIRST)) == ([f"{FIRST}.jwt"], before)
    assert resolver_in(tmp_path).lookup(FIRST) == before


def test_a_full_directory_takes_no_more(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path, limit=2)
    for name in (FIRST, SECOND, FIRST):
        resolver.store(name, token_of(name))
    with pytest.raises(StoreError, match="jwt store is full"):
        resolver.store(THIRD, token_of(THIRD))
    assert files(tmp_path) == [f"{FIRST}.jwt", f"{SECOND}.jwt"]


def test_a_cache_drops_what_was_not_asked_for_the_longest(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path, limit=2, evicts=True)
    for name in (FIRST, SECOND):
        resolver.store(name, token_of(name))
    fresh = resolver_in(tmp_path, limit=2, evicts=True)
    assert fresh.lookup(FIRST)
    fresh.store(THIRD, token_of(THIRD))
    assert files(tmp_path) == sorted([f"{FIRST}.jwt", f"{THIRD}.jwt"])
    # What is held in memory goes on without its file.
    resolver.store(FOURTH, token_of(FOURTH))
    assert resolver.lookup(SECOND)


def test_expiry_by_the_token_itself_or_by_the_time_since_it_was_asked_for() -> None:
    clock = Clock()
    full, cache = Index(clock=clock), Index(ttl=10.0, clock=clock)
    for index in (full, cache):
        index.put(FIRST, b"one", 1005)
        index.put(SECOND, b"two", 0)
    assert full.is_current(FIRST)
    clock.now = 1005.0
    assert (full.ended(), cache.ended()) == ([FIRST], [])
    cache.touch(FIRST)
    clock.now = 1010.0
    assert (full.ended(), cache.ended()) == ([FIRST], [SECOND])
    assert not full.is_current(FIRST)
    clock.now = 1015.0
    assert cache.ended() == [SECOND, FIRST]


def test_the_digest_of_a_directory_is_that_of_all_its_tokens() -> None:
    one, two = Index(), Index()
    assert one.digest == bytes(DIGEST_SIZE)
    one.put(FIRST, b"first", 0)
    one.put(SECOND, b"second", 0)
    two.put(SECOND, b"other", 0)
    two.put(FIRST, b"first", 0)
    assert one.digest != two.digest
    two.put(SECOND, b"second", 0)
    assert one.digest == two.digest
    two.drop(FIRST)
    one.doubt()
    assert one.digest == bytes(DIGEST_SIZE)
    assert one.unread() == [FIRST, SECOND]


def test_a_limit_of_none() -> None:
    index = Index(limit=1)
    index.put(FIRST, b"x", 0)
    with pytest.raises(FullError):
        index.surplus(SECOND)
    index.limit = 0
    assert index.surplus(SECOND) is None


def test_a_look_at_what_somebody_else_changed(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path)
    for name in (FIRST, SECOND, THIRD):
        resolver.store(name, token_of(name))
    altered = token_of(FIRST, label="altered")
    (tmp_path / f"{FIRST}.jwt").write_text(altered)
    (tmp_path / f"{SECOND}.jwt").unlink()
    (tmp_path / f"{FOURTH}.jwt").write_text(token_of(FOURTH))
    survey = resolver.survey()
    assert resolver.lookup(FIRST) != altered
    assert resolver.apply(survey) == {FIRST, SECOND}
    assert (resolver.lookup(FIRST), resolver.lookup(SECOND)) == (altered, None)
    assert list(resolver.index) == sorted([FIRST, THIRD, FOURTH])


def test_a_file_that_somebody_else_changed_is_not_yet_in_force(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path)
    before, now = token_of(FIRST, label="before"), token_of(FIRST, label="now")
    resolver.store(FIRST, before)
    assert resolver.holds(FIRST, before)
    (tmp_path / f"{FIRST}.jwt").write_text(now)
    resolver.read(FIRST)
    assert resolver.lookup(FIRST) == before
    assert not resolver.holds(FIRST, now)
    resolver.adopt(FIRST, now)
    assert resolver.lookup(FIRST) == now
    assert resolver.holds(FIRST, now)


def test_a_look_overwrites_nothing_that_changed_since(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path)
    resolver.store(FIRST, token_of(FIRST))
    (tmp_path / f"{FIRST}.jwt").write_text(token_of(FIRST, label="by hand"))
    survey = resolver.survey()
    pushed = token_of(FIRST, label="pushed")
    resolver.store(FIRST, pushed)
    assert resolver.apply(survey) == set()
    assert resolver.lookup(FIRST) == pushed


def test_a_cache_goes_on_with_what_it_holds_though_the_files_are_gone(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path, limit=5, evicts=True)
    resolver.store(FIRST, token_of(FIRST))
    (tmp_path / f"{FIRST}.jwt").unlink()
    assert resolver.apply(resolver.survey()) == set()
    assert resolver.lookup(FIRST)


def test_reading_a_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    resolver = resolver_in(tmp_path)
    assert resolver.file(FIRST) is None
    (tmp_path / f"{FIRST}.jwt").write_text("x")
    with pytest.raises(UnreadableError, match="holds no JWT"):
        resolver.file(FIRST)


def test_a_look_from_outside_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jwt"
    resolver = DirectoryResolver(str(path), Index())
    assert resolver.look({}) == []
    assert not path.exists()
    resolver_in(path).store(FIRST, token_of(FIRST, label="stored"))
    preload = {FIRST: token_of(FIRST), SECOND: token_of(SECOND)}
    assert resolver.look(preload) == sorted([FIRST, SECOND])
    assert resolver.lookup(FIRST) == (path / f"{FIRST}.jwt").read_text()
    assert resolver.lookup(SECOND) == preload[SECOND]


def test_what_a_killed_server_left_unfinished_goes(tmp_path: Path) -> None:
    (tmp_path / f".{FIRST}.7f.new").write_text("half a tok")
    assert list(resolver_in(tmp_path).index) == []
    assert files(tmp_path) == []


def test_which_directories_can_hold_tokens(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert check_directory(str(tmp_path / "one" / "two")) == ""
    assert check_directory(str(tmp_path)) == ""
    assert check_directory(str(tmp_path / "file")) == "dir needs to point to an accessible directory"
    assert check_directory(str(tmp_path / "file" / "jwt")) == "dir needs to point to an accessible directory"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="not a directory"):
        resolver_in(tmp_path / "file" / "jwt")
