"""Guests: bounded in number and memory, dropped for others, and turned away where their address fails too often."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config.options import AdmissionOptions
from broker.net.admission import Admission, Eviction, counted_address
from broker.net.backoff import BURST, FIRST_BACKOFF, FORGIVEN, REMEMBERED, Backoff, Handshakes

STRANGER, OTHER = "192.0.2.1", "192.0.2.2"


def admission(room: int = 100, **options: Any) -> Admission:
    return Admission(AdmissionOptions(**options), room)


@pytest.mark.parametrize(
    ("ip", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_what_an_address_counts_under(ip: str, counted: str) -> None:
    assert counted_address(ip) == counted


def test_half_of_the_room_is_for_guests_where_no_number_is_set() -> None:
    assert admission(100).most_guests == 50
    assert admission(1).most_guests == 1
    assert admission(100, max_unauthenticated=7).most_guests == 7


def test_who_fills_the_place_makes_room_for_all_others() -> None:
    here = admission(max_unauthenticated=4)
    here.enter(1, OTHER)
    for cid in (2, 3, 4):
        here.enter(cid, STRANGER)
    newcomer = here.enter(5, "192.0.2.3")
    assert here.surplus(newcomer) == (2, Eviction.GUESTS)


def test_where_each_address_has_one_guest_the_oldest_goes() -> None:
    here = admission(max_unauthenticated=3)
    for cid in range(1, 4):
        here.enter(cid, f"192.0.2.{cid}")
    assert here.surplus(here.enter(4, "192.0.2.4")) == (1, Eviction.GUESTS)


def test_an_address_may_have_a_number_of_guests() -> None:
    here = admission(max_unauthenticated_per_address=2, exempt=("198.51.100.0/24",))
    for cid in (1, 2):
        assert here.surplus(here.enter(cid, STRANGER)) is None
    assert here.surplus(here.enter(3, STRANGER)) == (1, Eviction.ADDRESS)
    for cid in (4, 5, 6, 7):
        assert here.surplus(here.enter(cid, "198.51.100.9")) is None


def test_what_guests_hold_is_bounded_and_who_holds_nothing_need_not_go() -> None:
    here = admission(max_unauthenticated_memory=100)
    guests = [here.enter(cid, STRANGER) for cid in range(1, 5)]
    here.hold(guests[2], 60)
    assert here.surplus(guests[2]) is None
    here.hold(guests[3], 41)
    assert here.surplus(guests[3]) == (3, Eviction.MEMORY)
    here.leave(guests[2])
    assert here.held == 41
    assert here.surplus(guests[3]) is None


def test_a_guest_behind_a_proxy_counts_where_it_comes_from() -> None:
    here = admission(max_unauthenticated_per_address=1)
    guests = [here.enter(cid, OTHER, is_proxy=True) for cid in (1, 2, 3)]
    assert here.surplus(guests[2]) is None
    here.hold(guests[0], 10)
    here.move(guests[0], STRANGER)
    here.move(guests[1], STRANGER)
    assert here.surplus(guests[1]) == (1, Eviction.ADDRESS)
    here.leave(guests[0])
    assert here.held == 0


def test_failures_turn_an_address_away_each_time_for_twice_as_long() -> None:
    backoff, now = Backoff(), 1000.0
    spells = []
    for _ in range(200):
        seconds = backoff.failed(STRANGER, now, allowance=10, longest=7.0)
        if seconds:
            spells.append(seconds)
            assert backoff.turns_away(STRANGER, now + seconds - 0.01)
            assert not backoff.turns_away(OTHER, now)
            now += seconds
            assert not backoff.turns_away(STRANGER, now)
    assert spells[:5] == [FIRST_BACKOFF, 2.0, 4.0, 7.0, 7.0]


def test_who_was_let_in_before_is_not_held_against_an_address_that_is_turned_away() -> None:
    backoff = Backoff()
    assert [backoff.failed(STRANGER, 1000.0, allowance=2, longest=60.0) for _ in range(9)] == [0, 0, 1.0] + [0] * 6


def test_failures_are_forgiven() -> None:
    backoff, now = Backoff(), 1000.0
    for _ in range(1000):
        assert backoff.failed(STRANGER, now, allowance=60, longest=60.0) == 0.0
        now += 1.0
    while not backoff.failed(STRANGER, now, allowance=60, longest=60.0):
        pass
    now += FORGIVEN * 60.0 + 2.0
    while not (seconds := backoff.failed(STRANGER, now, allowance=60, longest=60.0)):
        pass
    assert seconds == FIRST_BACKOFF


def test_an_address_that_many_are_logged_in_from_may_fail_more_often() -> None:
    here = admission(failures_per_address=3)
    for _ in range(9):
        here.logged_in(STRANGER)
    outcomes = [here.failed(here.enter(cid, STRANGER), 1000.0) for cid in range(1, 32)]
    assert outcomes == [0.0] * 30 + [FIRST_BACKOFF]
    assert here.turns_away(STRANGER, 1000.0)
    assert here.backed_off(1000.0) == 1
    for _ in range(9):
        here.logged_out(STRANGER)
    assert [here.failed(here.enter(cid, STRANGER), 2000.0) for cid in range(40, 44)].count(0.0) == 3


@pytest.mark.parametrize("options", [{"failures_per_address": 0}, {"exempt": ("192.0.2.0/24",)}])
def test_nobody_is_turned_away_where_that_is_off(options: dict[str, object]) -> None:
    here = admission(**options)
    for cid in range(1000):
        assert here.failed(here.enter(cid, STRANGER), 1000.0) == 0.0
    assert not here.turns_away(STRANGER, 1000.0)


def test_who_becomes_exempt_is_let_in_again() -> None:
    here = admission(failures_per_address=1)
    for cid in range(3):
        here.failed(here.enter(cid, STRANGER), 1000.0)
    assert here.turns_away(STRANGER, 1000.0)
    here.adopt(AdmissionOptions(exempt=(f"{STRANGER}/32",)), 100)
    assert not here.turns_away(STRANGER, 1000.0)


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    backoff, handshakes = Backoff(), Handshakes()
    for number in range(REMEMBERED + 100):
        address = f"2001:db8:{number // 65536:x}:{number % 65536:x}::/64"
        backoff.failed(address, 1000.0, allowance=1, longest=60.0)
        handshakes.admits(address, 1, 1000.0)
    assert len(backoff._known) == len(handshakes._known) == REMEMBERED


def test_an_address_begins_no_more_handshakes_than_it_may() -> None:
    here = admission(handshakes_per_address=3, exempt=(f"{OTHER}/32",))
    guest, other, exempt = here.enter(1, STRANGER), here.enter(2, "192.0.2.3"), here.enter(3, OTHER)
    assert [here.may_shake_hands(guest, 1000.0) for _ in range(3 * BURST + 2)] == [True] * 3 * BURST + [False] * 2
    assert here.may_shake_hands(other, 1000.0)
    assert [here.may_shake_hands(guest, 1001.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert all(here.may_shake_hands(exempt, 1000.0) for _ in range(100))
