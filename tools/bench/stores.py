"""Measures a server whose full resolver holds very many accounts: its start, its memory, and how soon a push counts.

A push revokes a user who is connected. It is in force when the server has told that user so.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from auth.nkey import KeyKind, KeyPair
from tools.bench.client import ANSWER_SECONDS, Target, connect, subscribe
from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.forge import AccountPlan, Credentials, account_claims, issue, user_of
from tools.bench.servers import Program, Server, free_port
from tools.bench.starts import ANY_PORT, measure_start
from tools.bench.workers import Figures

PUSHES = 15
"""Pushes of a measurement, each with a user of its own; the median counts."""

SETTLE_SECONDS = 1.0
"""How long a server is left alone before its memory is read: it may still be reading files."""

REVOKED = b"User Authentication Revoked"


@dataclass(frozen=True, slots=True, repr=False)
class Store:
    """An operator with so many accounts; one of them has users."""

    operator: KeyPair
    operator_jwt: str
    system: KeyPair
    busy: KeyPair
    users: tuple[Credentials, ...]
    jwts: dict[str, str]
    """By account."""

    @classmethod
    def forge(cls, accounts: int) -> Store:
        """So many accounts besides the system account, the busy one among them."""
        operator, system, busy = KeyPair.generate(KeyKind.OPERATOR), _account(), _account()
        plans = {system.public: AccountPlan("SYS"), busy.public: AccountPlan("BUSY")}
        plans |= {_account().public: AccountPlan(f"A{number}") for number in range(accounts - 1)}
        return cls(
            operator,
            issue(operator, operator.public, "bench", {"system_account": system.public}, "operator"),
            system,
            busy,
            (user_of(system, {}), *(user_of(busy, {}) for _ in range(PUSHES))),
            {key: issue(operator, key, plan.name, account_claims(plan, {}), "account") for key, plan in plans.items()},
        )

    def few(self) -> Store:
        """The same without the accounts that have no users."""
        used = (self.system.public, self.busy.public)
        return replace(self, jwts={key: self.jwts[key] for key in used})

    def write(self, directory: Path) -> None:
        """A directory as a full resolver has it."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        for account, token in self.jwts.items():
            (directory / f"{account}.jwt").write_text(token)

    def config(self, listen: str, directory: Path) -> str:
        """What both servers start with."""
        return (
            f'listen: "{listen}"\noperator: {self.operator_jwt}\nsystem_account: {self.system.public}\n'
            f'resolver: {{ type: full, dir: "{directory}" }}\n'
        )

    def without(self, revoked: int) -> str:
        """The busy account's JWT under which so many of its users are revoked."""
        claims = account_claims(AccountPlan("BUSY"), {})
        claims["revocations"] = {one.key.public: int(time.time()) for one in self.users[1 : revoked + 1]}
        return issue(self.operator, self.busy.public, "BUSY", claims, "account")


def measure_store(program: Program, directory: Path, store: Store) -> Figures:
    """Seconds until the server is ready, seconds until a push is in force, and bytes of memory after all that.

    The memory is told in all, and for one account beyond what a server without the many accounts holds.
    """
    jwts, config = directory / f"{program.name}.jwts", directory / f"{program.name}.store.conf"
    store.write(jwts)
    config.write_text(store.config(ANY_PORT, jwts))
    figures = measure_start(program, config)
    spent, memory = _serve(program, config, jwts, store)
    few = store.few()
    few.write(jwts)
    _, empty = _serve(program, config, jwts, few)
    many = len(store.jwts) - len(few.jwts)
    return {
        "ready": figures["ready"],
        "push": statistics.median(spent),
        "memory": float(memory),
        "each": (memory - empty) / max(many, 1),
    }


def _serve(program: Program, config: Path, jwts: Path, store: Store) -> tuple[list[float], int]:
    """Seconds until each of some pushes is in force, and the bytes of memory that the server then holds."""
    port = free_port()
    config.write_text(store.config(f"{HOST}:{port}", jwts))
    with Server(program, config, port) as server, ExitStack() as stack:
        target = Target(port, store.users)
        users = [stack.enter_context(connect(target, "user", account=number + 1)) for number in range(PUSHES)]
        system = stack.enter_context(connect(target, "pusher"))
        subscribe(system, "bench.answers")
        spent = [_push(system, users[number], store.without(number + 1)) for number in range(PUSHES)]
        time.sleep(SETTLE_SECONDS)
        return spent, server.resident_memory()


def _push(system: socket.socket, user: socket.socket, token: str) -> float:
    """Seconds from a push until the user whom it revokes has been told."""
    body = token.encode()
    message = b"PUB $SYS.REQ.CLAIMS.UPDATE bench.answers %d\r\n%b\r\n" % (len(body), body)
    start = time.perf_counter()
    system.sendall(message)
    told = b""
    while REVOKED not in told:
        try:
            news = user.recv(65536)
        except TimeoutError:
            raise BenchError(f"a push was not in force within {ANSWER_SECONDS:g} s") from None
        if not news:
            raise BenchError("a user was closed who was not told that it is revoked")
        told += news
    return time.perf_counter() - start


def _account() -> KeyPair:
    return KeyPair.generate(KeyKind.ACCOUNT)
