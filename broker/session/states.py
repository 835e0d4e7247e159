"""The states of a client session, and which steps there are between them.

    GREETED   INFO is out; CONNECT is awaited, and nothing else is listened to where credentials are needed
    VERIFYING CONNECT has come, and its password is being compared in a thread, or somebody else was asked who that is;
              nothing is parsed meanwhile
    ACTIVE    bound to an account by a principal; the PUB lane is open
    CLOSED    the end: nothing is read any more

A session becomes ACTIVE only through `Session.activate`, which takes a Principal, and only the verifier mints those.
A second CONNECT leads from ACTIVE back through GREETED.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    GREETED = "greeted"
    VERIFYING = "verifying"
    ACTIVE = "active"
    CLOSED = "closed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.GREETED: frozenset({State.VERIFYING, State.ACTIVE, State.CLOSED}),
    State.VERIFYING: frozenset({State.ACTIVE, State.CLOSED}),
    State.ACTIVE: frozenset({State.GREETED, State.CLOSED}),
    State.CLOSED: frozenset(),
}


def step(current: State, following: State) -> State:
    """Returns the following state; raises RuntimeError when the table has no such step."""
    if following not in TRANSITIONS[current]:
        raise RuntimeError(f"a session cannot go from {current.value} to {following.value}")
    return following
