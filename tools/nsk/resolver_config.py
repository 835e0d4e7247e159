"""Server configurations that trust the operator of a store, with its accounts preloaded."""

from __future__ import annotations

from auth.gojson import quote
from tools.nsk.store import Store


def memory_resolver(store: Store, *, system_account: str = "") -> str:
    """The operator, and every account in the server's memory: the part of a configuration file to include.

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
