"""The live accounts and their generations; accounts as values."""

from __future__ import annotations

import dataclasses

import pytest

from accounts.account import Account
from accounts.limits import AccountLimits
from accounts.registry import Registry


def test_every_change_is_a_new_generation() -> None:
    registry = Registry()
    assert registry.generation == 0
    assert registry.install(Account("A")) == 1
    assert registry.install(Account("B")) == 2
    assert registry.install(Account("A", limits=AccountLimits(payload=5))) == 3
    assert (registry.generation_of("A"), registry.generation_of("B")) == (3, 2)
    assert registry.remove("B") == Account("B")
    assert registry.generation == 4
    assert [account.name for account in registry] == ["A"]
    assert "B" not in registry
    assert len(registry) == 1


def test_what_changes_nothing_keeps_the_generation() -> None:
    registry = Registry([Account("A")])
    assert registry.install(Account("A")) == 1
    assert registry.remove("nobody") is None
    assert registry.account("nobody") is None
    assert registry.generation == 1


def test_iteration_survives_changes() -> None:
    registry = Registry([Account("A"), Account("B")])
    for account in registry:
        registry.remove(account.name)
    assert len(registry) == 0


def test_one_system_account() -> None:
    registry = Registry([Account("S", is_system=True)])
    with pytest.raises(ValueError, match="'S' is; remove that one first"):
        registry.install(Account("T", is_system=True))
    registry.install(Account("S", display_name="again", is_system=True))
    system = registry.system_account
    assert system is not None
    assert system.label == "again"


def test_account_is_frozen_and_its_maps_too() -> None:
    revocations = {"U": 5}
    account = Account("A", revocations=revocations)
    revocations["*"] = 9
    assert dict(account.revocations) == {"U": 5}
    with pytest.raises(dataclasses.FrozenInstanceError):
        account.name = "B"
    assert {account, Account("A", revocations={"U": 5})} == {account}
    with pytest.raises(ValueError, match="needs a name"):
        Account("")


@pytest.mark.parametrize(
    ("revocations", "issued_at", "expected"),
    [
        ({}, 0, False),
        ({"U": 10}, 10, True),
        ({"U": 10}, 11, False),
        ({"*": 10}, 9, True),
        ({"*": 10}, 0, True),
        ({"V": 10}, 0, False),
        ({"U": 5, "*": 10}, 7, True),
    ],
)
def test_revocation(revocations: dict[str, int], issued_at: int, expected: bool) -> None:
    assert Account("A", revocations=revocations).is_revoked("U", issued_at) is expected
