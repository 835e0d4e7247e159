"""Reloads of a crowd: the configuration, what a change of it concerns, and that a stop of delivery is seen."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options
from tools.bench.crowd import Crowd, password, user
from tools.bench.errors import BenchError
from tools.bench.reloads import INTERVAL, Pair, measure_reload
from tools.bench.servers import Program

NATSKEEP = Program("natskeep", (sys.executable, "-m", "broker"))


def options(text: str) -> Options:
    return read_options(parse_bytes(text.encode())).options


@pytest.mark.parametrize("own", [False, True])
def test_a_crowd_has_that_many_users_with_permissions(own: bool) -> None:
    accounts = options(Crowd(20, 3, own).config("127.0.0.1:-1")).accounts
    assert {one.user for account in accounts for one in account.users} == {
        user(account, number) for account in range(20) for number in range(3)
    }
    assert all((account.default_permissions is None) is own for account in accounts)
    assert all((one.permissions is not None) is own for account in accounts for one in account.users)


def test_a_change_gives_one_user_of_each_account_another_password() -> None:
    crowd = Crowd(2, 3)
    before, after = options(crowd.config("h:1")), options(crowd.config("h:1", is_changed=True))
    changed = [
        one.user
        for account, was in zip(after.accounts, before.accounts, strict=True)
        for one, earlier in zip(account.users, was.users, strict=True)
        if one.password != earlier.password
    ]
    assert changed == [user(0, 2), user(1, 2)]
    assert before.accounts[1].users[2].password == password(1, 2)


def test_a_reload_is_measured(tmp_path: Path) -> None:
    figures = measure_reload(NATSKEEP, tmp_path / "server.conf", Crowd(3, 4), 5)
    assert figures.keys() == {"stop", "quiet", "reload"}
    assert figures["reload"] > 0
    assert INTERVAL / 2 < figures["stop"] < 60


def test_a_stop_is_seen_and_an_end_too() -> None:
    publisher, far_publisher = socket.socketpair()
    subscriber, far_subscriber = socket.socketpair()
    with publisher, far_publisher, subscriber, far_subscriber:
        pair = Pair(publisher, subscriber, b"x")
        held_up = threading.Event()

        def pass_on() -> None:
            while far_publisher.recv(1):
                far_subscriber.sendall(b"x")
                if not held_up.wait(0.2):
                    held_up.set()

        passing = threading.Thread(target=pass_on, daemon=True)
        passing.start()
        assert pair.longest_stop(held_up.is_set, 30) >= 0.15
        with pytest.raises(BenchError, match="not over within 0"):
            pair.longest_stop(lambda: False, 0)
        closed, far_closed = socket.socketpair()
        far_closed.close()
        with closed, pytest.raises(BenchError, match="closed the subscriber"):
            Pair(publisher, closed, b"x").longest_stop(lambda: False, 30)
        publisher.shutdown(socket.SHUT_WR)
        passing.join()
