"""Who may see which pages of monitoring, where that is limited: the operator all of them, a tenant what is its own.

A token comes as a bearer token (RFC 6750) or as the password of basic authentication (RFC 7617), whatever the name. A
comparison with a bcrypt hash takes long by design; it runs in a thread, one at a time, and what was found is remembered
by the token's digest.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auth.password import is_bcrypt, matches

if TYPE_CHECKING:
    from broker.config.options import MonitorAccess

OWN_PAGES: Final = frozenset(
    {"/connz", "/subsz", "/subscriptionsz", "/accountz", "/accstatz", "/metrics", "/healthz", "/ui"}
)
"""What a tenant may see: of these only what is about its account."""

OPEN_PAGES: Final = frozenset({"/healthz"})
"""What needs no token: probes of orchestrators have none, and a state is no secret."""

REMEMBERED: Final = 256
"""Digests of tokens that are remembered for being nobody's; those of good ones are as few as there are tokens."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: the operator when no account is named, else that tenant."""

    account: str = ""
    is_probe: bool = False
    """Whether it is somebody without a token, who may learn the state of the server and nothing about accounts."""

    def may_see(self, path: str) -> bool:
        """Whether the page is for this viewer."""
        if self.is_probe:
            return path in OPEN_PAGES
        return not self.account or path in OWN_PAGES or path.startswith("/ui/")


OPERATOR: Final = Viewer()
PROBE: Final = Viewer(is_probe=True)


def token_of(authorization: str) -> str:
    """The token in an ``Authorization`` header, empty where there is none."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return text.partition(":")[2]
    return ""


class Access:
    """Finds out who looks."""

    def __init__(self) -> None:
        self._known: dict[bytes, Viewer] = {}
        self._refused: set[bytes] = set()
        self._of: MonitorAccess | None = None
        self._turn = asyncio.Lock()

    async def viewer(self, access: MonitorAccess | None, authorization: str, path: str) -> Viewer | None:
        """Who looks at a page, None for somebody who shows no good token. Without limits everybody is the operator."""
        if access is None:
            return OPERATOR
        token = token_of(authorization)
        if not token:
            return PROBE if path in OPEN_PAGES else None
        if access is not self._of:
            self._of, self._known, self._refused = access, {}, set()
        # What is found is kept beside the rules that it was found by, whatever takes their place meanwhile.
        known, refused = self._known, self._refused
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if digest not in known and digest not in refused:
            async with self._turn:
                if digest not in known and digest not in refused:
                    found = await self._find(access, token)
                    if found is not None:
                        known[digest] = found
                    else:
                        if len(refused) >= REMEMBERED:
                            refused.clear()
                        refused.add(digest)
        return known.get(digest)

    @staticmethod
    async def _find(access: MonitorAccess, token: str) -> Viewer | None:
        stored: list[tuple[str, Viewer]] = [(access.token, OPERATOR)] if access.token else []
        stored += [(secret, Viewer(account)) for account, secret in access.accounts.items()]
        if any(is_bcrypt(secret) for secret, _ in stored):
            return await asyncio.to_thread(_match, stored, token)
        return _match(stored, token)


def _match(stored: list[tuple[str, Viewer]], token: str) -> Viewer | None:
    found = [viewer for secret, viewer in stored if matches(secret, token)]
    return found[0] if found else None


def limited(parameters: Mapping[str, str], viewer: Viewer, path: str) -> Mapping[str, str] | None:
    """The parameters that a viewer's request has in effect: a tenant's are about its own account.

    None where a tenant asks for another one, or a probe for any.
    """
    if path == "/healthz":
        asked = parameters.get("account", "")
        return parameters if viewer == OPERATOR or asked in ("", viewer.account) else None
    if not viewer.account:
        return parameters
    asked = parameters.get("acc", "")
    if asked not in ("", viewer.account):
        return None
    return {**parameters, "acc": viewer.account}
