"""``select operator`` and ``select account``: what is current from now on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tools.nsk.cli import Command
from tools.nsk.commands.env import choose_account, choose_operator
from tools.nsk.flags import Flags
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class Selected:
    """What is current after ``select``."""

    operator: Annotated[str, "the current operator"]
    account: Annotated[str, "the current account; empty when there is none"]


def _operator(session: Session, flags: Flags) -> Selected:
    choose_operator(session, flags.arguments[0])
    return Selected(session.environment.operator, session.environment.account)


def _account(session: Session, flags: Flags) -> Selected:
    choose_account(session, session.open_store(session.environment.operator), flags.arguments[0])
    return Selected(session.environment.operator, session.environment.account)


OPERATOR = Command(
    "operator", "set the operator", _operator, arguments=(1, 1), usage_on_error=True, changes=True, result=Selected
)
ACCOUNT = Command(
    "account", "set the account", _account, arguments=(1, 1), usage_on_error=True, changes=True, result=Selected
)
