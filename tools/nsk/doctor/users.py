"""Users: their times, who signed them, what they may do, and what limits them."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.explain import Who
from accounts.limits import UNLIMITED, effective_subscriptions
from auth.claims import AccountClaims, UserClaims, UserPermissionLimits, UserScope
from auth.gojson import quote
from tools.nsk.doctor.entities import RENEWED, time_findings
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.scene import RefusedError
from tools.nsk.values import format_date

_SUBSCRIPTIONS = "10000"
_EXAMPLE = "app.>"


def user_findings(examined: Examined) -> Iterator[Finding]:
    """What is wrong with users."""
    for name, claims in examined.accounts.items():
        for user, its in examined.users[name].items():
            yield from _findings_of(examined, name, claims, user, its)


def _findings_of(
    examined: Examined, name: str, owner: AccountClaims, user: str, claims: UserClaims
) -> Iterator[Finding]:
    place = f"user {quote(user)} of account {quote(name)}"
    edit = ("edit", "user", "--account", name, "--name", user)
    yield from time_findings(examined, "user", place, claims, examined.run(*edit, "--expiry", RENEWED))
    if not owner.did_sign(claims):
        # The expiry that it has already: nothing changes but the signature.
        expiry = format_date(claims.expires_at) or "0"
        lost = "; it had its permissions from a role, and may do nothing until it is given some of its own"
        yield Finding(
            "user-foreign",
            Severity.ERROR,
            place,
            f"is signed by {claims.issuer}, which is no key of the account now: servers refuse the user"
            + (lost if claims.nats.is_empty else ""),
            examined.run(*edit, "--expiry", expiry),
        )
        return
    if name == examined.system_account and not claims.expires_at:
        yield Finding(
            "admin-without-expiry",
            Severity.WARNING,
            place,
            "may end connections and change accounts on servers, and never expires",
            examined.run(*edit, "--expiry", RENEWED),
        )
    try:
        who = examined.scene.user_of_token(examined.store.user_token(name, user))
    except RefusedError:
        # Expired, revoked or otherwise of no use: what it may do does not matter.
        return
    scope = owner.signing_key(claims.issuer)
    if isinstance(scope, UserScope):
        edit = ("edit", "signing-key", "--account", name, "--sk", scope.key)
    if name != examined.system_account:
        # Those of the system account are there for everything.
        held = scope.template if isinstance(scope, UserScope) else claims.nats
        yield from _broad(examined, place, who, edit, held)
    if effective_subscriptions(UNLIMITED, who.account.limits, who.limits) == UNLIMITED:
        yield Finding(
            "user-without-limits",
            Severity.INFO,
            place,
            "may have as many subscriptions as it likes, since neither it nor its account is limited",
            examined.run(*edit, "--subs", _SUBSCRIPTIONS),
        )


def _broad(
    examined: Examined, place: str, who: Who, edit: tuple[str, ...], held: UserPermissionLimits
) -> Iterator[Finding]:
    """Whether a user may publish or subscribe to everything."""
    publishes, subscribes = may_publish_all(who), who.policy.decide_subscribe(">").allowed
    if not (publishes or subscribes):
        return
    what = " and ".join(word for word, is_broad in (("publish", publishes), ("subscribe", subscribes)) if is_broad)
    words = [*edit, *(("--rm", ">") if ">" in (*held.publish.allow, *held.subscribe.allow) else ())]
    if publishes:
        words += ["--allow-pub", _EXAMPLE]
    if subscribes:
        words += ["--allow-sub", f"{_EXAMPLE},_INBOX.>"]
    yield Finding(
        "user-unrestricted",
        Severity.INFO,
        place,
        f"may {what} to every subject of the account; name what it needs in place of {quote(_EXAMPLE)}",
        examined.run(*words),
    )


def may_publish_all(who: Who) -> bool:
    """Whether no publish rule but denies keeps a user from any subject."""
    table = who.policy
    if table.publish_is_closed:
        return False
    return not table.publish_allow or any(rule.subject == ">" for rule in table.publish_allow)
