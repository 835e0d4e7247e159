"""Rotations go on from wherever they were cut off, and end with the old key out of use."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import ActivationClaims, Export, Import, UserScope
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool
from tools.nsk.errors import StoreError
from tools.nsk.keystore import KeyStore
from tools.nsk.live import Connected, Trust
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.rotation.begin import (
    Terms,
    begin_account,
    begin_operator,
    begin_operator_identity,
    begin_signing_key,
    begin_user,
)
from tools.nsk.rotation.identity import begin_account_identity
from tools.nsk.rotation.progress import Retirement, advance
from tools.nsk.rotation.records import Book, Rotation
from tools.nsk.store import Store

Begin = Callable[[Store], Iterable[Rotation]]
TERMS = Terms()
BEGINNINGS: dict[str, Begin] = {
    "user": lambda store: [begin_user(store, "A", "u", TERMS)],
    "signing-key": lambda store: [begin_signing_key(store, "A", "worker", TERMS)],
    "account": lambda store: begin_account(store, "A", TERMS),
    "account-identity": lambda store: [begin_account_identity(store, "A", TERMS)[0]],
    "operator": lambda store: [begin_operator(store, "", TERMS)],
    "operator-identity": lambda store: [begin_operator_identity(store, TERMS)],
}


class Fleet:
    """Servers that take everything at once, and count what they are asked for."""

    def __init__(self, store: Store, tick: Callable[[], None] = lambda: None) -> None:
        self.store = store
        self.tick = tick
        self.accounts: dict[str, str] = {}
        self.connected: list[Connected] = []
        self.refused: dict[str, str] = {}
        self.is_behind = False
        self.issuers: dict[str, set[str]] = {}

    def push(self, tokens: Mapping[str, str]) -> dict[str, str]:
        self.accounts |= {key: token for key, token in tokens.items() if key not in self.refused}
        self.tick()
        return {key: self.refused[key] for key in tokens if key in self.refused}

    def trust(self) -> list[Trust]:
        if self.is_behind:
            return [Trust("late", frozenset(), frozenset())]
        operator = self.store.operator()
        return [Trust("one", frozenset(operator.trusted_keys()), frozenset({operator.subject}))]

    def connections(self, account: str, *, subscriptions: bool = False, ended: bool = False) -> list[Connected]:
        return [one for one in self.connected if one.account == account]

    def account_issuers(self) -> dict[str, set[str]]:
        return self.issuers

    def kick(self, connections: Iterable[Connected]) -> list[str]:
        return []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Account A, whose plain and scoped signing keys signed users, and B, which A activated something for."""
    store = create_operator(tmp_path, "O", KeyStore(tmp_path), signing_key=KeyPair.generate(KeyKind.OPERATOR))
    add_system_account(store)
    plain, scoped = KeyPair.generate(KeyKind.ACCOUNT), KeyPair.generate(KeyKind.ACCOUNT)
    giver, taker = create_account(store, "A"), create_account(store, "B")
    for pair in (plain, scoped):
        store.keystore.store_key(pair)
    scope = UserScope(key=scoped.public, role="worker")
    scope.template.publish.allow = ["work.>"]
    giver.nats.signing_keys = [plain.public, scope]
    giver.nats.exports = [Export(name="x", subject="x.>", type="stream", token_required=True)]
    store.sign_account(giver)
    create_user(store, "A", "u", signer=plain)
    create_user(store, "A", "w", signer=scoped)
    for user in ("u", "w"):
        store.write_creds("A", user)
    activation = ActivationClaims.new(taker.subject)
    activation.nats.import_subject, activation.nats.kind = "x.>", "stream"
    activation.nats.issuer_account = giver.subject
    token = jwt.encode(activation, plain)
    taker.nats.imports = [Import(name="x", subject="x.>", account=giver.subject, type="stream", token=token)]
    store.sign_account(taker)
    return tmp_path


def opened(home: Path) -> Store:
    return Store.open(home, "O", KeyStore(home))


def finish_all(home: Path) -> None:
    """Go on until no rotation is left."""
    for rotation in Book(opened(home)).rotations():
        store = opened(home)
        assert advance(store, rotation, Fleet(store), Retirement.UNUSED).is_over


def check(store: Store, old: set[str]) -> None:
    """Everything is signed by keys that count, nothing by old ones, and creds files fit."""
    operator = store.operator()
    assert not old & {operator.subject, *operator.nats.signing_keys}
    for name in store.accounts():
        account = store.account(name)
        assert operator.did_sign(account)
        assert account.issuer not in old
        assert account.validate() == []
        for user in store.users(name):
            claims = store.user(name, user)
            assert account.did_sign(claims)
            assert not old & {claims.subject, claims.issuer}
            if store.creds_path(name, user).is_file():
                assert store.creds_path(name, user).read_text() == store.creds(name, user)
        for item in account.nats.imports:
            assert item is not None
            giver = store.account(store.account_with_key(item.account) or "")
            assert item.activation().issuer in (giver.subject, *(key for key in giver.nats.signing_keys))
            assert item.activation().subject == account.subject
    assert not any(map(store.keystore.has_key, old))


@pytest.mark.parametrize("what", BEGINNINGS)
def test_all_the_way(home: Path, what: str) -> None:
    store = opened(home)
    with store.transaction():
        rotations = list(BEGINNINGS[what](store))
    fleet = Fleet(store)
    for rotation in rotations:
        assert advance(store, rotation, fleet).waiting
        assert advance(store, rotation, fleet, Retirement.UNUSED).is_over
    check(opened(home), {rotation.old for rotation in rotations})
    assert Book(opened(home)).rotations() == []
    assert store.accounts() == ["A", "B", "SYS"]
    for name in store.accounts():
        if (key := store.account(name).subject) in fleet.accounts:
            assert fleet.accounts[key] == store.account_token(name)


@pytest.mark.parametrize("what", BEGINNINGS)
def test_cut_off_anywhere(home: Path, tmp_path_factory: pytest.TempPathFactory, what: str) -> None:
    """A process is killed whenever it has written to the disk or told servers something; another one goes on."""
    cut = 0
    while True:
        cut += 1
        copy = tmp_path_factory.mktemp("cut") / "home"
        shutil.copytree(home, copy)
        was_killed = _run_until(copy, what, cut)
        old = {rotation.old for rotation in Book(opened(copy)).rotations()}
        finish_all(copy)
        if not was_killed:
            break
        check(opened(copy), old)
        assert opened(copy).accounts() == ["A", "B", "SYS"]
    assert cut > 3


def _run_until(home: Path, what: str, cut: int) -> bool:
    """Rotate in a process of its own that is killed at the given moment; whether it was."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            _rotate(home, what, cut)
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def _rotate(home: Path, what: str, cut: int) -> None:
    moments = iter(range(1, 1000))

    def tick() -> None:
        if next(moments) == cut:
            os.kill(os.getpid(), signal.SIGKILL)

    store = opened(home)
    commit = store.files.commit

    def watched_commit() -> None:
        commit()
        tick()

    store.files.commit = watched_commit
    with store.transaction():
        rotations = list(BEGINNINGS[what](store))
    for rotation in rotations:
        advance(store, rotation, Fleet(store, tick), Retirement.UNUSED)


# What holds a rotation up.


@pytest.fixture
def store(home: Path) -> Store:
    return opened(home)


def only(store: Store, what: str) -> Rotation:
    [rotation] = BEGINNINGS[what](store)
    return rotation


def test_nothing_is_signed_before_servers_know_the_key(store: Store) -> None:
    rotation = only(store, "signing-key")
    before = store.user_token("A", "w")
    assert "name a server with --nats" in advance(store, rotation, None).waiting
    fleet = Fleet(store)
    fleet.refused = {store.account("A").subject: "no"}
    assert advance(store, rotation, fleet).waiting.endswith('account "A": no')
    assert store.user_token("A", "w") == before
    assert advance(store, rotation, None, by_hand=True).rotation.stage == "adopted"
    assert store.user("A", "w").issuer == rotation.new


def test_an_operator_waits_for_servers_that_are_behind(store: Store) -> None:
    rotation = only(store, "operator")
    fleet = Fleet(store)
    fleet.is_behind = True
    assert "configuration of late" in advance(store, rotation, fleet).waiting
    assert rotation.stage == "issued"
    assert "every server" in advance(store, rotation, None).waiting
    fleet.is_behind = False
    advance(store, rotation, fleet)
    fleet.is_behind = True
    assert "configuration of late" in advance(store, rotation, fleet, Retirement.UNUSED).waiting
    assert rotation.stage == "retired"
    assert store.keystore.has_key(rotation.old)


def test_a_deleted_account_on_servers_holds_up_no_operator(tool: Tool) -> None:
    """One that was deleted here is told of; one that only servers know is waited for, with the remedy."""
    store = Store.open(tool.home, "O", KeyStore(tool.home))
    tool.ok("add", "account", "GONE")
    key = store.account("GONE").subject
    tool.ok("delete", "account", "GONE")
    rotation = begin_operator(store, "", TERMS)
    fleet = Fleet(store)
    assert not advance(store, rotation, fleet).is_over
    stranger = KeyPair.generate(KeyKind.ACCOUNT).public
    fleet.issuers = {key: {rotation.old}, stranger: {rotation.old}}
    waiting = advance(store, rotation, fleet, Retirement.UNUSED).waiting
    assert f"nsk push --account-removal {stranger}" in waiting
    assert key not in waiting
    del fleet.issuers[stranger]
    progress = advance(store, rotation, fleet, Retirement.UNUSED)
    assert progress.is_over
    assert any(f'account "GONE" ({key}) was deleted here' in line for line in progress.done)


def test_whoever_is_connected_keeps_the_key(store: Store) -> None:
    rotation = only(store, "user")
    account = store.account("A").subject
    fleet = Fleet(store)
    fleet.connected = [Connected("N", "one", 7, account, rotation.old, "", name="till")]
    waiting = advance(store, rotation, fleet, Retirement.UNUSED).waiting
    assert "used by till at  (cid 7 on one)" in waiting
    assert "no server was asked" in advance(store, rotation, None, Retirement.UNUSED).waiting
    assert rotation.old not in store.account("A").nats.revocations
    rotation.retire_after = int(time.time()) - 1
    assert advance(store, rotation, fleet, Retirement.UNUSED).is_over
    assert rotation.old in store.account("A").nats.revocations


def test_force(store: Store) -> None:
    rotation = only(store, "user")
    assert "first" in advance(store, rotation, None, Retirement.FORCED).waiting
    assert rotation.old in store.account("A").nats.revocations


def test_a_key_is_rotated_once_at_a_time(store: Store) -> None:
    rotation = only(store, "user")
    advance(store, rotation, None)
    with pytest.raises(StoreError, match=f"part of rotation {rotation.id}"):
        begin_user(store, "A", "u", TERMS)


def test_users_named_for_an_auth_callout_stay_so(store: Store) -> None:
    owner = store.account("A")
    old = store.user("A", "u").subject
    owner.nats.authorization.auth_users = [old]
    store.sign_account(owner)
    rotation = only(store, "user")
    assert rotation.unpushed == ["A"]
    fleet = Fleet(store)
    advance(store, rotation, fleet)
    assert store.account("A").nats.authorization.auth_users == [old, rotation.new]
    advance(store, rotation, fleet, Retirement.UNUSED)
    assert store.account("A").nats.authorization.auth_users == [rotation.new]


def test_a_user_does_not_lose_its_role(store: Store) -> None:
    scoped = store.user("A", "w").issuer
    store.keystore.remove_key(scoped)
    before = store.user_token("A", "w")
    with pytest.raises(StoreError, match="has its permissions from the signing key"), store.transaction():
        begin_user(store, "A", "w", TERMS)
    assert store.user_token("A", "w") == before
    assert Book(store).rotations() == []


def test_the_system_account_keeps_its_identity(store: Store) -> None:
    with pytest.raises(StoreError, match="stands in the operator's JWT"):
        begin_account_identity(store, "SYS", TERMS)


def test_an_operator_that_is_elsewhere_is_not_rotated(store: Store) -> None:
    store.set_managed(True)
    for begin in (lambda: begin_operator(store, "", TERMS), lambda: begin_operator_identity(store, TERMS)):
        with pytest.raises(StoreError, match="somebody else"):
            begin()


def test_an_import_that_nobody_here_can_activate_is_left_out(store: Store) -> None:
    giver = store.account("A")
    for key in (giver.subject, *(key for key in giver.nats.signing_keys if isinstance(key, str))):
        store.keystore.remove_key(key)
    rotation, notes = begin_account_identity(store, "B", TERMS)
    assert "have it activated for " + rotation.new in notes[0]
    assert store.account("B").nats.imports == []


# The command line.


@pytest.fixture
def tool(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("HOME", str(home / "none"))
    return Tool(home, capsys)


def test_the_commands(tool: Tool) -> None:
    assert "no rotation is under way" in _said(tool, "rotate", "continue")
    assert "[WARN] the old key holds until" in _said(tool, "rotate", "user", "-a", "A", "u")
    [rotation] = Book(opened(tool.home)).rotations()
    tool.ok("rotate", "status")
    assert rotation.new in tool.out
    assert "no server was asked" in tool.out
    assert "no server was asked" in _said(tool, "rotate", "continue", rotation.id[:3])
    assert "servers must have the JWTs" in _said(tool, "rotate", "retire", rotation.id, "--force")
    assert "the rotation is over" in _said(tool, "rotate", "continue", "--by-hand")
    assert Book(opened(tool.home)).rotations() == []
    assert 'no rotation "zz"' in tool.refused("rotate", "continue", "zz")
    assert "name the rotation" in tool.refused("rotate", "retire")


def test_what_cannot_be_seamless_is_said(tool: Tool) -> None:
    said = _said(tool, "rotate", "account", "A", "--identity")
    assert "do not hear each other until all have reconnected" in said


def _said(tool: Tool, *words: str) -> str:
    assert tool(*words) == 0, tool.err
    return tool.out + tool.err


def test_a_key_that_is_kept_elsewhere(tool: Tool) -> None:
    store = opened(tool.home)
    identity, before = store.identity_signer(store.operator().subject), store.operator().nats.signing_keys
    store.keystore.remove_key(identity.public)
    seed = tool.home / "elsewhere"
    seed.write_text(identity.seed)
    assert "unable to resolve" in tool.refused("rotate", "operator")
    assert Book(opened(tool.home)).rotations() == []
    _said(tool, "rotate", "operator", "-K", str(seed))
    assert "the rotation is over" in _said(tool, "rotate", "continue", "--by-hand", "-K", str(seed))
    assert len(store.operator().nats.signing_keys) == 1
    assert store.operator().nats.signing_keys != before
    assert not opened(tool.home).keystore.has_key(identity.public)


def test_a_deleted_account_ends_its_rotations_and_no_other(tool: Tool) -> None:
    for account in ("D", "E"):
        tool.ok("add", "account", account)
        tool.ok("add", "user", "--account", account, "--name", "u")
        tool.ok("rotate", "user", "u", "--account", account)
    tool.ok("delete", "account", "D")
    status = tool.ok("rotate", "status")
    assert "its account is not in the store any more" in status
    assert 'user "u" of account "E"' in status
    tool.ok("rotate", "continue", "--by-hand")
    assert 'account "D" is not in the store any more' in tool.err
    assert "revoked the old key" in tool.err
    tool.ok("rotate", "status")
    assert "no rotation is under way" in tool.err


def test_a_renamed_account_goes_on_with_its_rotation(tool: Tool) -> None:
    tool.ok("add", "account", "D")
    tool.ok("add", "user", "--account", "D", "--name", "u")
    old = tool.claims("user", "--account", "D", "--name", "u")["sub"]
    tool.ok("rotate", "user", "u", "--account", "D")
    tool.ok("rename", "account", "D", "F", "--OK")
    tool.ok("rotate", "continue", "--by-hand")
    assert "the rotation is over" in tool.err
    assert old in tool.claims("account", "--name", "F")["nats"]["revocations"]


def test_a_user_that_got_another_key_keeps_it_when_the_rotation_is_forced_to_its_end(store: Store) -> None:
    rotation = begin_user(store, "A", "u", TERMS)
    claims = store.user("A", "u")
    claims.subject = KeyPair.generate(KeyKind.USER).public
    store.write_user("A", "u", jwt.encode(claims, store.account_signer(store.account("A"))))
    with pytest.raises(StoreError, match=r"retire .* --force"):
        advance(store, rotation, Fleet(store))
    assert advance(store, rotation, Fleet(store), Retirement.FORCED).is_over
    assert store.user("A", "u").subject == claims.subject
    assert rotation.old in store.account("A").nats.revocations


@pytest.mark.parametrize("url", ["127.0.0.1:4222", "http://127.0.0.1"])
def test_what_is_no_server_is_not_passed_over(tool: Tool, url: str) -> None:
    assert f'"{url}" is no url of a server' in tool.refused("rotate", "status", "--nats", url)


def test_a_user_that_is_deleted_meanwhile_is_revoked_with_both_keys(tool: Tool) -> None:
    _said(tool, "rotate", "user", "-a", "A", "u")
    [rotation] = Book(opened(tool.home)).rotations()
    tool.ok("delete", "user", "-a", "A", "u")
    assert opened(tool.home).account("A").nats.revocations.keys() == {rotation.old, rotation.new}
