"""What a reload would do, told from two configurations and the sessions there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from accounts.limits import AccountLimits
from accounts.permissions import Grant, Permissions, SubjectRules
from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    CalloutOptions,
    Options,
    ResolverKind,
    ResolverOptions,
    UserOptions,
)
from broker.reload.preview import Effect, SessionSnapshot, preview
from tests.support.callout import CURVE, ISSUER, OTHER_ISSUER
from tests.support.estate import Estate


def user(name: str, password: str = "p", **fields: Any) -> UserOptions:
    return UserOptions(user=name, password=password, **fields)


NARROW = Permissions(subscribe=SubjectRules(allow=(Grant("ok"),)))
OLD = Options(accounts=(
    AccountOptions(name="A", users=(user("gone"), user("moves"), user("changes"), user("narrows"), user("stays"))),
))  # fmt: skip
NEW = Options(max_payload=100, accounts=(
    AccountOptions(name="B", users=(user("moves"),)),
    AccountOptions(name="A", users=(
        user("stays", origin="x:9"), user("narrows", permissions=NARROW), user("changes", "q"),
    )),
))  # fmt: skip


def test_users_sessions_and_subscriptions() -> None:
    names = ("gone", "moves", "changes", "narrows", "stays")
    sessions = [SessionSnapshot(cid, "A", name, (("ok", None), ("no", "q"))) for cid, name in enumerate(names)]
    found = preview(OLD, NEW, sessions)
    assert {one.user: one.effect for one in found.users} == {
        "gone": Effect.GONE, "moves": Effect.MOVED, "changes": Effect.PROOF, "narrows": Effect.RIGHTS,
    }
    assert found.closing == (0, 1, 2)
    assert found.going == ((3, "no", "q"),)
    assert list(found.lines()) == [
        "Keys:",
        "  Reloaded: accounts",
        "  Reloaded: max_payload = 100",
        "Users:",
        "  A/changes: sessions close unless they gave what the password is now",
        "  A/gone: sessions close: the user is gone",
        "  A/moves: sessions close: the user belongs to another account",
        "  A/narrows: permissions change: subscriptions that they do not allow go",
        "Sessions that would close:",
        "  cid 0, A/gone",
        "  cid 1, A/moves",
        "  cid 2, A/changes",
        "Subscriptions that would go:",
        "  cid 3, A/narrows: no q",
    ]


def test_sessions_of_accounts_that_lie_in_a_directory(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    options = estate.full(tmp_path)
    for one in (realm, other):
        (tmp_path / f"{one.account_key.public}.jwt").write_text(one.account_token())
    names = [realm.account_key.public, other.account_key.public, estate.system.account_key.public]
    sessions = [SessionSnapshot(cid, name, "U") for cid, name in enumerate(names)]
    assert preview(options, options, sessions).closing == ()
    (tmp_path / f"{names[1]}.jwt").unlink()
    assert preview(options, options, sessions).closing == (1,)
    served = replace(options, resolver=ResolverOptions(ResolverKind.URL, url="http://h"), resolver_preload={})
    assert preview(served, served, sessions).closing == ()


def test_sessions_of_a_token_and_of_nobody() -> None:
    sessions = [SessionSnapshot(1, "$G", "[REDACTED]"), SessionSnapshot(2, "$G", "")]
    nobody, one, other = Options(), *(Options(authorization=AuthorizationOptions(token=token)) for token in "ab")
    assert preview(one, other, sessions).closing == (1,)
    assert preview(one, one, sessions).closing == ()
    assert preview(nobody, one, sessions).closing == (2,)


def test_limits_and_refusals() -> None:
    account = replace(OLD.accounts[0], limits=AccountLimits(connections=1))
    limited = replace(OLD, accounts=(account,), max_pending=3 << 20)
    assert list(preview(OLD, limited).lines()) == [
        "The reload would be refused:",
        "  config reload not supported for MaxPending: old=67108864, new=3145728",
        "Keys:",
        "  Reloaded: accounts",
        "Accounts whose sessions are judged again:",
        "  A",
    ]


def test_single_credentials() -> None:
    def with_single(**fields: Any) -> Options:
        return Options(authorization=AuthorizationOptions(**fields))

    one = with_single(user="bob", password="p")
    assert [found.effect for found in preview(one, with_single(user="bob", password="q")).users] == [Effect.PROOF]
    assert [found.effect for found in preview(one, with_single(token="t")).users] == [Effect.GONE]
    assert [found.user for found in preview(with_single(token="t"), Options()).users] == ["token"]
    assert list(preview(one, one).lines()) == ["Nothing would change."]


def test_sessions_that_a_callout_admitted() -> None:
    callout = CalloutOptions(issuer=ISSUER.public, account="A", users=("stays",))
    accounts = (AccountOptions(name="A", users=(user("stays"),)), AccountOptions(name="B"), AccountOptions(name="C"))
    old = Options(accounts=accounts, authorization=AuthorizationOptions(callout=callout))
    sessions = (SessionSnapshot(1, "A", "stays"), SessionSnapshot(2, "B", "bob"), SessionSnapshot(3, "C", "eve"))

    def closing(**changes: Any) -> tuple[int, ...]:
        new = replace(old, authorization=AuthorizationOptions(callout=replace(callout, **changes)))
        return preview(old, new, sessions).closing

    assert closing() == ()
    assert closing(xkey=CURVE.public) == ()
    assert closing(allowed_accounts=("B",)) == (3,)
    assert closing(issuer=OTHER_ISSUER.public) == (2, 3)
    assert preview(old, replace(old, authorization=AuthorizationOptions()), sessions).closing == (2, 3)
    named = replace(old, accounts=(accounts[0], AccountOptions(name="B", users=(user("bob"),)), accounts[2]))
    assert preview(old, named, sessions).closing == (2,)
