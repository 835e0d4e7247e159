"""Contexts of the nats command line tool: server, credentials and inbox prefix of a user in one file of JSON.

``nats --context NAME`` reads those in ``<XDG_CONFIG_HOME>/nats/context``. Another one lies beside the creds file of
every user with a private inbox, where programs find the prefix that goes with the credentials.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from auth.claims import OperatorClaims, UserClaims
from auth.gojson import dumps
from tools.nsk.environment import Environment
from tools.nsk.keystore import CONTEXT_SUFFIX
from tools.nsk.private_inbox import inbox_prefix
from tools.nsk.store import Store


class _Context(msgspec.Struct, omit_defaults=True):
    nsc: str
    url: str = ""
    creds: str = ""
    inbox_prefix: str = ""


def context_path(environment: Environment, name: str) -> Path:
    """Where the nats command line tool looks for a context of that name."""
    return environment.context_directory / (name if name.endswith(CONTEXT_SUFFIX) else f"{name}{CONTEXT_SUFFIX}")


def context_text(operator: OperatorClaims, account: str, claims: UserClaims, creds: Path) -> str:
    """The context of a user with its creds file; it names the operator's first service URL."""
    urls = operator.nats.operator_service_urls
    context = _Context(
        nsc=f"nsc://{operator.name}/{account}/{claims.name}",
        url=urls[0] if urls else "",
        creds=str(creds),
        inbox_prefix=inbox_prefix(claims),
    )
    return dumps(context).decode()


def write_context(
    store: Store, account: str, claims: UserClaims, operator: OperatorClaims | None = None
) -> Path | None:
    """Write the context beside the creds file of a user with a private inbox, and drop that of any other.

    The operator's claims are read when they are not given. Raises StoreError.
    """
    path = store.keystore.context_path(store.name, account, claims.name)
    if not inbox_prefix(claims):
        store.files.remove(path)
        return None
    creds = store.creds_path(account, claims.name)
    store.files.write(path, context_text(operator or store.operator(), account, claims, creds))
    return path
