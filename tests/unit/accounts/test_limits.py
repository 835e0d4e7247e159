"""How ceilings combine; only -1 means unlimited."""

from __future__ import annotations

import pytest

from accounts.limits import (
    AccountLimits,
    UserLimits,
    effective_data,
    effective_payload,
    effective_subscriptions,
    fits,
    tightest,
)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((), -1), ((-1, -1), -1), ((5, -1), 5), ((5, 3, -1), 3), ((0, 7), 0), ((-2, 7), 0), ((-2,), 0)],
)
def test_tightest(limits: tuple[int, ...], expected: int) -> None:
    assert tightest(*limits) == expected


@pytest.mark.parametrize(
    ("amount", "limit", "expected"),
    [(10**12, -1, True), (5, 5, True), (6, 5, False), (1, 0, False), (0, 0, True), (1, -2, False)],
)
def test_fits(amount: int, limit: int, expected: bool) -> None:
    assert fits(amount, limit) is expected


def test_server_account_and_user_together() -> None:
    account = AccountLimits(subscriptions=7, payload=300, data=9)
    assert effective_payload(1000, account, UserLimits()) == 300
    assert effective_payload(200, account, UserLimits(payload=250)) == 200
    assert effective_payload(200, AccountLimits(), UserLimits(payload=-2)) == 0
    assert effective_subscriptions(-1, account, UserLimits(subscriptions=8)) == 7
    assert effective_subscriptions(-1, AccountLimits(), UserLimits()) == -1
    assert effective_data(account, UserLimits(data=4)) == 4


@pytest.mark.parametrize("absent", [0, -1, -2])
def test_absent_data_limits_neither_end_nor_lift_the_other(absent: int) -> None:
    assert effective_data(AccountLimits(data=absent), UserLimits(data=9)) == 9
    assert effective_data(AccountLimits(data=9), UserLimits(data=absent)) == 9
    assert effective_data(AccountLimits(data=absent), UserLimits(data=absent)) == -1
