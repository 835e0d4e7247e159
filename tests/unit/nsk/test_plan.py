"""Plans of two sides: what would change, what would break, and what names them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from auth import jwt
from auth.claims import AccountClaims, Export, Import, OperatorClaims, UserClaims, WeightedMapping
from auth.nkey import KeyKind, KeyPair
from tools.nsk.deletions import deletions, note_deletion
from tools.nsk.keystore import KeyStore
from tools.nsk.plan import effective_imports, make_plan
from tools.nsk.plan_model import (
    AccountChange,
    Connection,
    Deed,
    Holdings,
    Plan,
    State,
    StoredUser,
    Subscription,
    UserChange,
    Wanted,
)
from tools.nsk.plan_text import plan_lines
from tools.nsk.provision import create_account, create_operator
from tools.nsk.survey import strangers

NOW = 2_000_000_000.0
ISSUED = int(NOW) - 1000


@dataclass
class Shop:
    """An operator with two accounts and a user: change the claims, then take a side."""

    operator_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.OPERATOR))
    account_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.ACCOUNT))
    other_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.ACCOUNT))
    user_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.USER))

    def __post_init__(self) -> None:
        self.operator = OperatorClaims.new(self.operator_key.public)
        self.account = AccountClaims.new(self.account_key.public)
        self.other = AccountClaims.new(self.other_key.public)
        self.user = UserClaims.new(self.user_key.public)
        self.operator.name, self.account.name, self.other.name, self.user.name = "O", "SHOP", "HUB", "web"
        self.signer = self.account_key

    def tokens(self, *, issued_at: int = ISSUED) -> dict[str, str]:
        return {
            claims.subject: jwt.encode(claims, self.operator_key, issued_at=issued_at)
            for claims in (self.account, self.other)
        }

    def held(self, **changes: Any) -> Holdings:
        operator = jwt.encode(self.operator, self.operator_key, issued_at=ISSUED)
        return replace(Holdings(self.tokens(), (operator,)), **changes)

    def user_token(self) -> str:
        if self.signer is not self.account_key:
            self.user.nats.issuer_account = self.account_key.public
        return jwt.encode(self.user, self.signer, issued_at=ISSUED)

    def wanted(self, *, issued_at: int = ISSUED) -> Wanted:
        stored = StoredUser(self.account_key.public, "web", self.user_token())
        return Wanted(self.tokens(issued_at=issued_at), users=(stored,))

    def connection(self, *subjects: str, cid: int = 7) -> Connection:
        subscriptions = tuple(map(Subscription, subjects))
        return Connection(
            "S1", cid, self.account_key.public, self.user_key.public, self.user_token(), "app", subscriptions
        )


@pytest.fixture
def shop() -> Shop:
    return Shop()


def only(plan: Plan) -> AccountChange:
    (change,) = plan.accounts
    return change


def only_user(plan: Plan) -> UserChange:
    (user,) = only(plan).users
    return user


def test_equal_sides_make_an_empty_plan(shop: Shop) -> None:
    plan = make_plan(shop.held(connections=(shop.connection("a.>"),)), shop.wanted(), NOW)
    assert (plan.accounts, plan.breaks, plan.notes) == ([], False, [])
    assert list(plan_lines(plan))[-1] == "nothing would change"


def test_newer_claims_that_mean_the_same_break_nothing(shop: Shop) -> None:
    plan = make_plan(shop.held(), shop.wanted(issued_at=ISSUED + 1), NOW)
    assert [(change.account, change.deed) for change in plan.accounts] == [
        ("HUB", Deed.REFRESH),
        ("SHOP", Deed.REFRESH),
    ]
    assert not plan.breaks


def test_older_claims_are_pointed_out(shop: Shop) -> None:
    plan = make_plan(shop.held(), shop.wanted(issued_at=ISSUED - 1), NOW)
    assert "newer than those of the store" in plan.accounts[0].notes[0]


def test_the_id_changes_with_either_side(shop: Shop) -> None:
    held, wanted = shop.held(), shop.wanted()
    shop.account.nats.limits.payload = 10
    ids = {
        make_plan(one, other, NOW).id
        for one, other in ((held, wanted), (shop.held(), wanted), (held, shop.wanted()), (held, Wanted({})))
    }
    assert len(ids) == 4
    assert make_plan(held, wanted, NOW).id == make_plan(held, wanted, NOW + 99).id


def test_a_new_account_breaks_nothing(shop: Shop) -> None:
    held = shop.held()
    del held.tokens[shop.account_key.public]
    plan = make_plan(held, shop.wanted(), NOW)
    assert only(plan).deed is Deed.ADD
    assert only_user(plan).refused_before
    assert not plan.breaks


def test_a_removed_account_breaks(shop: Shop) -> None:
    stored = shop.wanted().users
    plan = make_plan(
        shop.held(connections=(shop.connection(),)),
        Wanted({}, frozenset({shop.account_key.public}), stored),
        NOW,
    )
    assert only(plan).deed is Deed.REMOVE
    assert only_user(plan).refused_after
    assert only(plan).live[0].closed == "the account would be gone"
    assert plan.breaks


def test_users_lose_and_gain_what_the_account_grants_them(shop: Shop) -> None:
    shop.account.nats.default_permissions.publish.allow = ["a.>"]
    held = shop.held(connections=(shop.connection("a.>", "b.x"),))
    shop.account.nats.default_permissions.publish.allow = ["a.x", "c"]
    shop.account.nats.default_permissions.subscribe.deny = ["b.*"]
    plan = make_plan(held, shop.wanted(), NOW)
    user = only_user(plan)
    assert [str(grant) for grant in user.lost] == ["publish a.>", "subscribe b.*"]
    assert [str(grant) for grant in user.gained] == ["publish c"]
    assert user.lost[0].example == "a.any"
    (live,) = only(plan).live
    assert [one.subject for one in live.subscriptions] == ["b.x"]
    assert "b.*" in live.subscriptions[0].reason
    text = "\n".join(plan_lines(plan))
    assert "- publish a.>, such as a.any: no publish allow matches" in text
    assert "would lose its subscription to b.x" in text
    assert plan.breaks


def test_more_permissions_break_nothing(shop: Shop) -> None:
    shop.account.nats.default_permissions.publish.allow = ["a"]
    held = shop.held()
    shop.account.nats.default_permissions.publish.allow = ["a", "b"]
    plan = make_plan(held, shop.wanted(), NOW)
    assert [str(grant) for grant in only_user(plan).gained] == ["publish b"]
    assert not plan.breaks


def test_revoked_users_are_refused_and_closed(shop: Shop) -> None:
    held = shop.held(connections=(shop.connection(),))
    shop.account.revoke(shop.user_key.public, int(NOW))
    plan = make_plan(held, shop.wanted(), NOW)
    assert "revoked" in only_user(plan).refused_after
    assert "revoked" in only(plan).live[0].closed
    assert any(term.name.startswith("revocation") and term.breaks for term in only(plan).terms)


def test_a_removed_signing_key_refuses_its_users(shop: Shop) -> None:
    shop.signer = KeyPair.generate(KeyKind.ACCOUNT)
    shop.account.set_signing_key(shop.signer.public)
    held = shop.held()
    shop.account.remove_signing_key(shop.signer.public)
    plan = make_plan(held, shop.wanted(), NOW)
    assert shop.signer.public in only_user(plan).refused_after
    assert [(term.before, term.after, term.breaks) for term in only(plan).terms] == [("yes", "no", True)]


def test_an_expired_account_refuses_its_users(shop: Shop) -> None:
    held = shop.held()
    shop.account.expires_at = int(NOW) - 1
    plan = make_plan(held, shop.wanted(), NOW)
    assert "expired" in only_user(plan).refused_after
    assert plan.breaks


def test_connected_users_that_the_store_does_not_know_are_looked_at(shop: Shop) -> None:
    held = shop.held(connections=(shop.connection(),))
    shop.account.revoke("*", int(NOW))
    plan = make_plan(held, replace(shop.wanted(), users=()), NOW)
    assert not only_user(plan).stored
    assert "revoked" in only_user(plan).refused_after


@pytest.mark.parametrize(
    ("name", "before", "after", "breaks"),
    [
        ("connections", -1, 5, True),
        ("connections", 5, -1, False),
        ("payload", 100, 99, True),
        ("payload", 100, 101, False),
        ("disallow_bearer", False, True, True),
        ("wildcard_exports", True, False, True),
    ],
)
def test_lower_limits_break(shop: Shop, name: str, before: object, after: object, breaks: bool) -> None:
    setattr(shop.account.nats.limits, name, before)
    held = shop.held()
    setattr(shop.account.nats.limits, name, after)
    plan = make_plan(held, shop.wanted(), NOW)
    assert [term.breaks for term in only(plan).terms] == [breaks]
    assert plan.breaks == breaks


def test_the_newest_connections_go_where_fewer_are_allowed(shop: Shop) -> None:
    held = shop.held(connections=tuple(shop.connection(cid=cid) for cid in (3, 1, 2)))
    shop.account.nats.limits.connections = 2
    plan = make_plan(held, shop.wanted(), NOW)
    assert [live.cid for live in only(plan).live] == [3]


def test_imports_of_accounts_that_are_not_pushed_cease_to_work(shop: Shop) -> None:
    shop.account.nats.exports = [Export(name="e", subject="news.>", type="stream")]
    shop.other.nats.imports = [
        Import(name="i", subject="news.x", account=shop.account_key.public, local_subject="in", type="stream")
    ]
    held = shop.held()
    shop.account.nats.exports = []
    wanted = Wanted({shop.account_key.public: shop.tokens()[shop.account_key.public]})
    plan = make_plan(held, wanted, NOW)
    hub = next(change for change in plan.accounts if change.account == "HUB")
    (change,) = hub.imports
    assert hub.deed is Deed.NONE
    assert (change.before, change.after, change.exporter) == (State.IN_FORCE, State.REFUSED, "SHOP")
    assert "exports no stream" in change.reason
    assert plan.breaks
    back = make_plan(shop.held(), Wanted(held.tokens), NOW)
    assert not back.breaks
    assert any(one.after is State.IN_FORCE for account in back.accounts for one in account.imports)
    ((public, found),) = effective_imports(shop.held(), [shop.other_key.public], NOW)
    assert (public, found.in_force) == (shop.other_key.public, False)


def test_what_servers_refuse_changes_nothing_and_is_said(shop: Shop) -> None:
    held = shop.held(connections=(shop.connection(),))
    stranger = KeyPair.generate(KeyKind.OPERATOR)
    shop.account.nats.default_permissions.publish.allow = ["a"]
    token = jwt.encode(shop.account, stranger, issued_at=ISSUED)
    plan = make_plan(held, replace(shop.wanted(), tokens={shop.account_key.public: token}), NOW)
    assert stranger.public in only(plan).refused
    assert (only(plan).users, only(plan).live) == ([], [])
    assert plan.breaks


def test_mappings_lead_messages_elsewhere(shop: Shop) -> None:
    held = shop.held()
    shop.account.nats.mappings = {"a": [WeightedMapping("b")]}
    plan = make_plan(held, shop.wanted(), NOW)
    assert [(term.name, term.after) for term in only(plan).terms] == [("mapping of a", "b 100%")]
    assert plan.breaks


def test_other_claims_are_named(shop: Shop) -> None:
    held = shop.held()
    shop.account.nats.description = "a shop"
    shop.account.nats.tags = ["x"]
    plan = make_plan(held, shop.wanted(), NOW)
    assert only(plan).notes == ["other claims differ: description, tags"]
    assert not plan.breaks


def test_nothing_that_a_terminal_obeys_is_shown(shop: Shop) -> None:
    held = shop.held(connections=(replace(shop.connection("\x1b[2J"), client="\x1b]0;x\x07"),))
    shop.account.nats.default_permissions.subscribe.deny = [">"]
    text = "\n".join(plan_lines(make_plan(held, shop.wanted(), NOW)))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_accounts_that_only_servers_hold_are_told_and_stay(shop: Shop) -> None:
    """They are named, with the time of their deletion, and break nothing; removing them does."""
    held, wanted = shop.held(), shop.wanted()
    hub, token = shop.other_key.public, wanted.tokens.pop(shop.other_key.public)
    assert held.tokens[hub] == token
    plan = make_plan(held, replace(wanted, strangers={hub: ISSUED}), NOW)
    assert ([(one.account, one.public_key, one.deleted_at) for one in plan.only_on_servers], plan.breaks) == (
        [("HUB", hub, ISSUED)],
        False,
    )
    lines = list(plan_lines(plan))
    assert f"account HUB ({hub}): only on the servers, deleted here at 2033-05-18 03:16:40 UTC" in lines
    pruned = make_plan(held, replace(wanted, removed=frozenset({hub})), NOW)
    assert (only(pruned).deed, pruned.breaks, pruned.only_on_servers) == (Deed.REMOVE, True, [])
    assert pruned.id != plan.id


def test_whose_accounts_are_strangers(tmp_path: Path, shop: Shop) -> None:
    """Neither those of another operator whom servers trust, nor the system account that servers name."""
    store = create_operator(tmp_path, "O", KeyStore(tmp_path))
    mine = create_account(store, "MINE")
    tokens = {mine.subject: store.account_token("MINE")}
    key = store.identity_signer(store.operator().subject)
    keys = {name: KeyPair.generate(KeyKind.ACCOUNT).public for name in ("GONE", "LEFT", "SYSTEM")}
    for name, public in keys.items():
        claims = AccountClaims.new(public)
        claims.name = name
        tokens[public] = jwt.encode(claims, key, issued_at=ISSUED)
    note_deletion(store, "GONE", keys["GONE"])
    held = shop.held(system_account=keys["SYSTEM"])
    held = replace(held, tokens={**held.tokens, **tokens}, operators=(*held.operators, store.operator_token()))
    found = strangers(store, held)
    assert set(found) == {keys["GONE"], keys["LEFT"]}
    assert found[keys["LEFT"]] is None
    assert found[keys["GONE"]] == deletions(store)[keys["GONE"]].at
