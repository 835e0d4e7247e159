"""Server configurations that trust the operator of a store: parts of a configuration file, to be included."""

from __future__ import annotations

from auth.gojson import quote
from tools.nsk.errors import StoreError
from tools.nsk.store import Store

_FULL = """\
# configuration of the nats based resolver
resolver {{
    type: full
    # Directory in which the account jwt will be stored
    dir: './jwt'
    # In order to support jwt deletion, set to true
    # If the resolver type is full delete will rename the jwt.
    # This is to allow manual restoration in case of inadvertent deletion.
    # To restore a jwt, remove the added suffix .delete and restart or send a reload signal.
    # To free up storage you must manually delete files with the suffix .delete.
    allow_delete: {deletes}
    # Interval at which a nats-server with a nats based account resolver will compare
    # it's state with one random nats based account resolver in the cluster and if needed,\x20
    # exchange jwt and converge on the same set of jwt.
    interval: "2m"
    # Timeout for lookup requests in case an account does not exist locally.
    timeout: "1.9s"
}}
"""
_CACHE = """\
# configuration of the nats based cache resolver
resolver {
    type: cache
    # Directory in which the account jwt will be stored
    dir: './jwt'
    # ttl after which the file will be removed from the cache. Set to a large value in order to disable.
    ttl: "1h"
    # Timeout for lookup requests in case an account does not exist locally.
    timeout: "1.9s"
}
"""
_PRELOAD = """\
# Preload the nats based resolver with the system account jwt.
# This is not necessary but avoids a bootstrapping system account.\x20
# This only applies to the system account. Therefore other account jwt are not included here.
# To populate the resolver:
# 1) make sure that your operator has the account server URL pointing at your nats servers.
#    The url must start with: "nats://"\x20
#    {program} edit operator --account-jwt-server-url nats://localhost:4222
# 2) push your accounts using: {program} push --all
#    The argument to push -u is optional if your account server url is set as described.
# 3) to prune accounts use: {program} push --prune\x20
#    In order to enable prune you must set above allow_delete to true
# Later changes to the system account take precedence over the system account jwt listed here.
resolver_preload: {{
\t{public}: {token},
}}
"""


def memory_resolver(store: Store, *, system_account: str = "") -> str:
    """The operator, and every account in the server's memory.

    The system account is the operator's, unless an account is named. Raises StoreError.
    """
    system = store.account(system_account).subject if system_account else store.operator().nats.system_account
    lines = [f"// Operator {quote(store.name)}", f"operator: {store.operator_token()}", ""]
    if system:
        lines += [f"system_account: {system}", ""]
    lines += ["resolver: MEMORY", "", "resolver_preload: {"]
    accounts = sorted((store.account(name).subject, name) for name in store.accounts())
    for public, name in accounts:
        lines += [f"  // Account {quote(name)}", f"  {public}: {store.account_token(name)}", ""]
    lines += ["}", ""]
    return "\n".join(lines)


def nats_resolver(
    store: Store, *, system_account: str = "", cache: bool = False, program: str = "nsk", deletes: bool = True
) -> str:
    """The operator, and a directory of account JWTs that servers keep in step over NATS, or a cache of it.

    ``deletes`` tells whether servers forget accounts when a key of the operator asks them to: without it, an account
    that was deleted lives on there.
    Raises StoreError when neither the operator has a system account nor one is named.
    """
    name = system_account or store.account_with_key(store.operator().nats.system_account)
    if not name:
        raise StoreError("system account is not set")
    account = store.account(name)
    head = (
        f"# Operator named {store.name}\noperator: {store.operator_token()}\n"
        f"# System Account named {name}\nsystem_account: {account.subject}\n"
    )
    preload = _PRELOAD.format(program=program, public=account.subject, token=store.account_token(name))
    full = _FULL.format(deletes=str(deletes).lower())
    return "\n".join((head, _CACHE if cache else full, "", preload, ""))
