"""Permissions and an account become the policy table of one user; each rule keeps its origin."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.account import Account
from accounts.callout import ANSWERS, REQUEST_SUBJECT
from accounts.permissions import Grant, Permissions
from accounts.policy import BUILT_IN, Action, Effect, PolicyTable, Rule

_GATEWAY_REPLIES = "_GR_.>"
_CONSENSUS = "$NRG.>"

_RESERVED_REPLIES = ("_R_.>", "$JS.ACK.>", _GATEWAY_REPLIES)
"""Reply subjects that servers make for service imports, acknowledgements and gateways; a client may not forge them."""


def compile_policy(permissions: Permissions | None, account: Account, user: str = "") -> PolicyTable:
    """Compile the policy of a user of ``account``.

    ``permissions`` are the user's own, or None where the account's default permissions hold. (A user JWT without any
    permission has none of its own; in a configuration file even empty ones are.) ``user`` is its name or nkey, by which
    the users of an auth callout are known. Raises ``InvalidPermissionError`` for an entry with an invalid subject or
    queue, so that a rule that cannot be enforced is never taken for none.
    """
    chosen = permissions if permissions is not None else account.default_permissions
    if chosen is None:
        chosen = Permissions()
    chosen.validate()
    rules = (*_written_rules(chosen), *_built_in_rules(account, user))
    return PolicyTable(rules, chosen.responses)


def _written_rules(permissions: Permissions) -> Iterator[Rule]:
    for action, lists in ((Action.PUBLISH, permissions.publish), (Action.SUBSCRIBE, permissions.subscribe)):
        for effect, grants in ((Effect.ALLOW, lists.allow), (Effect.DENY, lists.deny)):
            for grant in grants:
                yield _rule(action, effect, grant)


def _rule(action: Action, effect: Effect, grant: Grant) -> Rule:
    return Rule(action, effect, grant.subject, grant.queue, grant.origin)


def _built_in_rules(account: Account, user: str) -> Iterator[Rule]:
    yield Rule(Action.PUBLISH, Effect.DENY, _GATEWAY_REPLIES, None, BUILT_IN)
    if not account.is_system:
        yield Rule(Action.PUBLISH, Effect.DENY, _CONSENSUS, None, BUILT_IN)
    for reply in _RESERVED_REPLIES:
        yield Rule(Action.REPLY, Effect.DENY, reply, None, BUILT_IN)
    if account.callout is not None:
        # Requests hold passwords. Nobody forges one, and nobody but the service hears them or the answers.
        yield Rule(Action.PUBLISH, Effect.DENY, REQUEST_SUBJECT, None, BUILT_IN)
        yield Rule(Action.SUBSCRIBE, Effect.DENY, ANSWERS, None, BUILT_IN)
        if user not in account.callout.users:
            yield Rule(Action.SUBSCRIBE, Effect.DENY, REQUEST_SUBJECT, None, BUILT_IN)
