"""What every account imports from the system account, and what it cannot get at by it."""

from __future__ import annotations

import pytest

from accounts.account import Account
from accounts.exchange import compile_exchange
from accounts.exports import ResponseType, ServiceExport
from accounts.imports import ServiceImport
from accounts.system import (
    HIDDEN_EXPORTS,
    OWN_CONNECTIONS,
    SUBSCRIBERS,
    connections_of,
    hidden_imports,
    hidden_links,
    with_hidden_exports,
)

SYSTEM = "$SYS"


def links(account: Account) -> dict[str, tuple[str, bool]]:
    """The services in force: local subject, and what is asked there and whether it is told who asks."""
    return {
        one.imported.local_subject: (one.imported.subject, one.imported.share) for one in hidden_links(account, SYSTEM)
    }


@pytest.mark.parametrize("name", ["A", "$G", "AB2WBMZ6IFKSHE5SKUNZWOIHTGQZJJTTBEC7BLLDWB3NPLVU2CSFEIDS"])
def test_every_account_may_ask_for_itself(name: str) -> None:
    assert links(Account(name)) == {
        "$SYS.REQ.ACCOUNT.PING.CONNZ": (f"$SYS.REQ.ACCOUNT.{name}.CONNZ", False),
        "$SYS.REQ.SERVER.PING.CONNZ": (f"$SYS.REQ.ACCOUNT.{name}.CONNZ", False),
        "$SYS.REQ.ACCOUNT.PING.STATZ": (f"$SYS.REQ.ACCOUNT.{name}.STATZ", False),
        "$SYS.REQ.USER.INFO": (f"$SYS.REQ.USER.{name}.INFO", True),
    }


def test_the_system_account_asks_itself_for_its_users_only() -> None:
    assert links(Account(SYSTEM, is_system=True)) == {"$SYS.REQ.USER.INFO": ("$SYS.REQ.USER.$SYS.INFO", True)}


@pytest.mark.parametrize("name", ["*", ">", "a.b", "a b", "$1", "{{wildcard(1)}}", "PING"])
def test_a_name_that_would_reach_further_imports_nothing(name: str) -> None:
    assert hidden_imports(name, SYSTEM) == ()


@pytest.mark.parametrize("export", HIDDEN_EXPORTS[1:], ids=lambda one: one.subject)
def test_no_account_is_permitted_another(export: ServiceExport) -> None:
    assert export.permits("A", export.subject.replace("*", "A"))
    assert not export.permits("A", export.subject.replace("*", "B"))
    assert not export.permits("A", export.subject)
    assert not export.permits("*", export.subject)


def test_every_link_fits_its_export() -> None:
    for link in hidden_links(Account("A"), SYSTEM):
        assert link.export.permits("A", link.imported.subject)
        assert link.imported.inward.apply(link.imported.local_subject, lambda _: 0) == link.imported.subject
    assert [link.export.response_type.value for link in hidden_links(Account("A"), SYSTEM)] == [
        "Stream", "Stream", "Stream", "Singleton",
    ]


def test_an_import_of_the_account_itself_is_not_overridden() -> None:
    own = ServiceImport(account=SYSTEM, subject=connections_of("A"), to=OWN_CONNECTIONS, share=True)
    assert OWN_CONNECTIONS not in links(Account("A", imports=(own,)))


def test_hidden_exports_can_be_imported_by_whoever_they_are_for() -> None:
    system = with_hidden_exports(Account(SYSTEM, is_system=True))
    for subject, is_permitted in ((SUBSCRIBERS, True), (connections_of("A"), True), (connections_of("B"), False)):
        account = Account("A", imports=(ServiceImport(account=SYSTEM, subject=subject),))
        compiled = compile_exchange(account, {SYSTEM: system}.get, 0.0)
        assert bool(compiled.services) == is_permitted


def test_an_export_of_the_system_account_itself_is_not_overridden() -> None:
    own = ServiceExport(subject="$SYS.REQ.ACCOUNT.>", response_type=ResponseType.STREAM, accounts=frozenset({"M"}))
    system = with_hidden_exports(Account(SYSTEM, is_system=True, exports=(own,)))
    assert [one.subject for one in system.exports] == [
        "$SYS.REQ.ACCOUNT.>", "$SYS.DEBUG.SUBSCRIBERS", "$SYS.REQ.USER.*.INFO",
    ]
