"""A full resolver of many accounts is measured: its start, a push until it counts, and the memory of one account."""

from __future__ import annotations

import sys
from pathlib import Path

from auth.claims import AccountClaims
from tools.bench.servers import Program
from tools.bench.stores import PUSHES, Store, measure_store

NATSKEEP = Program("natskeep", (sys.executable, "-m", "broker"))


def test_a_store_is_a_directory_of_so_many_accounts(tmp_path: Path) -> None:
    store = Store.forge(3)
    store.write(tmp_path / "jwts")
    names = {path.stem for path in (tmp_path / "jwts").iterdir()}
    assert names == set(store.jwts)
    assert len(names) == 3 + 1
    assert set(store.few().jwts) == {store.system.public, store.busy.public}
    revoked = AccountClaims.from_token(store.without(2)).nats.revocations
    assert set(revoked) == {one.key.public for one in store.users[1:3]}
    assert len(store.users) == PUSHES + 1


def test_a_store_is_measured(tmp_path: Path) -> None:
    figures = measure_store(NATSKEEP, tmp_path, Store.forge(5))
    assert figures.keys() == {"ready", "push", "memory", "each"}
    assert 0 < figures["push"] < figures["ready"]
    assert figures["memory"] > 1024 * 1024
