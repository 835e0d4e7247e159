"""The table of states: which steps there are, and that nothing leads out of the end."""

from __future__ import annotations

import pytest

from broker.session.states import TRANSITIONS, State, step

STEPS = {
    (State.GREETED, State.VERIFYING),
    (State.GREETED, State.ACTIVE),
    (State.GREETED, State.CLOSED),
    (State.VERIFYING, State.ACTIVE),
    (State.VERIFYING, State.CLOSED),
    (State.ACTIVE, State.GREETED),
    (State.ACTIVE, State.CLOSED),
}


def test_every_state_stands_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("current", State)
@pytest.mark.parametrize("following", State)
def test_steps(current: State, following: State) -> None:
    if (current, following) in STEPS:
        assert step(current, following) is following
        return
    with pytest.raises(RuntimeError, match=f"from {current.value} to {following.value}"):
        step(current, following)
