"""What a proof gives as an example happens on a running broker, step by step; and nothing happens that it excludes."""

from __future__ import annotations

import itertools
import re

from hypothesis import HealthCheck, given, settings

from accounts.account import Account
from accounts.flow import World
from accounts.prove import Action, Proof
from broker.config.options import AccountOptions, UserOptions
from tests.fuzz.inputs import LONG
from tests.property.test_prove import NAMES, topologies
from tests.support.brokers import Broker
from tests.support.sessions import Conversation

MARK = b"from the source"

_MESSAGE = re.compile(rb"H?MSG (\S+) \S+ (?:(\S+) )?[0-9]+(?: [0-9]+)?\r\n")


class Play:
    """The clients of an example: each action has one of its own, so that nobody hears what it says itself."""

    def __init__(self, accounts: list[Account]) -> None:
        self._broker = Broker(
            accounts=tuple(
                AccountOptions(
                    name=account.name,
                    users=(UserOptions(user=account.name, password="p"),),
                    exports=account.exports,
                    imports=account.imports,
                    mappings=account.mappings,
                )
                for account in accounts
            )
        )
        self._speakers = {account.name: self._broker.connect(account.name) for account in accounts}
        self._listeners: list[tuple[str, Conversation]] = []

    def run(self, script: tuple[Action, ...]) -> bytes:
        """Does what the script says; returns what its first listener heard, which is the target's."""
        for action in script:
            if action.verb == "listen":
                listener = self._broker.connect(action.account)
                listener.feed(f"SUB {action.subject} 1\r\n".encode())
                self._listeners.append((action.account, listener))
            elif action.verb == "publish":
                self._say(action.account, action.subject, action.reply)
            else:
                self._say(action.account, self._asked(action.account), action.reply)
        return self._listeners[0][1].said()

    def _say(self, account: str, subject: str, reply: str) -> None:
        words = f"PUB {subject} {reply}".rstrip()
        answer = self._speakers[account].feed(b"%b %d\r\n%b\r\n" % (words.encode(), len(MARK), MARK))
        assert answer == b""
        self._broker.settle()

    def _asked(self, account: str) -> str:
        """The reply subject of the message that came last to a listener of the account."""
        for name, listener in reversed(self._listeners):
            found = _MESSAGE.findall(listener.said()) if name == account else []
            if found and found[-1][1]:
                return str(found[-1][1].decode())
        raise AssertionError(f"nobody in {account} was asked")


@settings(
    max_examples=1_000 if LONG else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(topologies(chance=False))
def test_every_example_happens(accounts: list[Account]) -> None:
    proof = Proof(World(accounts, 0.0))
    for source, target in itertools.permutations(NAMES, 2):
        reach = proof.reach(source, target)
        if reach is not None and reach.is_shown:
            assert MARK in Play(accounts).run(reach.script), reach.script
