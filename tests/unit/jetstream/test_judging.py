"""Each kind of request says who may ask it; which ones are told all by their subject is listed here."""

from __future__ import annotations

from broker.jetstream.api import judging
from broker.jetstream.api.router import ROUTES

TOLD_BY_THE_SUBJECT = {
    "INFO",
    "STREAM.NAMES", "STREAM.LIST", "STREAM.PEER.REMOVE", "STREAM.CANCEL_MOVE", "STREAM.LEADER.STEPDOWN",
    "CONSUMER.NAMES", "CONSUMER.LIST", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.UNPIN",
    "CONSUMER.LEADER.STEPDOWN",
}  # fmt: skip
"""Their payloads, where they have any, name nothing that a permission could be about."""


def test_payloads_that_name_subjects_are_judged() -> None:
    unjudged = {".".join(name) for name, route in ROUTES.items() if route.judge is judging.nothing}
    assert unjudged == TOLD_BY_THE_SUBJECT
