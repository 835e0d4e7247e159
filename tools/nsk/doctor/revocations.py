"""Revocations that nothing needs any more.

A revocation guards against JWTs that are out of sight, so what the store has of a user proves little: an older one may
live longer. Only two are surely of no use: one that the revocation of all users covers, and one of a key that a
rotation took out of use and whose last JWT has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from auth.claims.account import ALL_USERS
from auth.gojson import quote
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.rotation.records import Book
from tools.nsk.store import Store
from tools.nsk.values import format_date


def revocation_findings(examined: Examined) -> Iterator[Finding]:
    """The revocations that could go."""
    retired = {one.key: one.expires_at for one in examined.retired}
    for name, claims in examined.accounts.items():
        everybody = claims.nats.revocations.get(ALL_USERS)
        users = {user.subject: (title, user) for title, user in examined.users[name].items()}
        for key, moment in sorted(claims.nats.revocations.items()):
            if key == ALL_USERS:
                continue
            mend: Callable[[], None] | None = partial(remove_revocation, examined.store, name, key)
            if everybody is not None and moment <= everybody:
                kind, text = "revocation-covered", "the revocation of all users covers it"
            elif (end := retired.get(key)) and end <= examined.now:
                kind, text = "revocation-outlived", f"the last JWT of the key expired at {format_date(end)}"
            elif key in users and users[key][1].issued_at > moment:
                kind, mend = "revocation-overtaken", None
                text = f"user {quote(users[key][0])} was issued anew since; if no older JWT of it is about, it can go"
            elif key in users and 0 < users[key][1].expires_at <= examined.now:
                kind, mend = "revocation-outlived", None
                text = f"the JWT of user {quote(users[key][0])} has expired; if no other JWT of it is about, it can go"
            else:
                continue
            command = examined.run("revocations", "delete-user", "--account", name, "--user-public-key", key)
            place = f"revocation of {key} in account {quote(name)}"
            yield Finding(kind, Severity.INFO, place, f"is not needed: {text}", command, mend)


def remove_revocation(store: Store, account: str, key: str) -> None:
    """Take a user's revocation out of an account. Raises StoreError."""
    claims = store.account(account)
    claims.nats.revocations.pop(key, None)
    store.sign_account(claims)
    Book(store).forget_retired([key])
