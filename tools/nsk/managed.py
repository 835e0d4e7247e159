"""Accounts of an operator whose key somebody else holds: they sign themselves, and the operator signs them in turn.

Where the operator runs an account server over HTTP, each changed account is put there and fetched back signed.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from auth.claims import AccountClaims, OperatorClaims
from auth.envelope import JwtError
from auth.gojson import quote
from tools.nsk.account_server import account_url, fetch, post_account
from tools.nsk.errors import NskError
from tools.nsk.report import Report
from tools.nsk.store import Store
from tools.nsk.web import Reply


def submit(store: Store, claims: AccountClaims, report: Report, *, keep: bool = True) -> bool:
    """Have a stored account signed by the operator, or say what is left to do for that.

    In a store that is not managed there is nothing to do. ``keep`` writes down first what was changed so far, so that
    it is there whatever the server says. False when the server refused the account or was not there.
    """
    if not store.managed:
        return True
    operator = store.operator()
    server = operator.nats.account_server_url
    group = report.group()
    if urlsplit(server).scheme.lower() not in ("http", "https"):
        group.warn(
            f"unable to push to {quote(operator.name)} - "
            "operator doesn't set an account server url or manual exchange necessary"
        )
    else:
        if keep:
            store.files.commit()
        if _exchange(store, operator, claims, group):
            return not group.failed
    group.warn("perform push/pull again or exchange self-signed JWT manually")
    return not group.failed


def _exchange(store: Store, operator: OperatorClaims, claims: AccountClaims, report: Report) -> bool:
    """Put the account to the server and fetch it. False when what is stored is still what the account signed itself."""
    server, public = operator.nats.account_server_url, claims.subject
    try:
        pushed = post_account(server, public, store.account_token(claims.name))
    except NskError as error:
        report.error(f"error pushing account {quote(claims.name)}: {error.text}")
        return False
    _report_push(pushed, report)
    if not pushed.is_done:
        return False
    try:
        pulled = fetch(account_url(server, public))
    except NskError as error:
        report.error(f"error pulling account {quote(claims.name)}: {error.text}")
        return False
    section = report.section("pull jwt from account server")
    if not pulled.is_done:
        section.warn(f"failed to pull jwt from the account server: : [{pulled.status}]")
        return False
    try:
        check_signed(operator, public, claims.name, pulled.text.strip())
    except JwtError as error:
        report.error(f"failed to store jwt: {error}")
        return False
    store.write_account(claims.name, pulled.text.strip())
    return True


def _report_push(reply: Reply, report: Report) -> None:
    section = report.section("push jwt to account server")
    if reply.is_done and not reply.body:
        return
    if reply.is_done:
        section.ok("pushed account jwt to the account server")
    elif reply.is_accepted:
        section.warn("pushed account jwt was accepted by the account server")
    else:
        section.error("failed to push account to remote server")
    if reply.text.strip():
        section.message(reply.text.strip())


def check_signed(operator: OperatorClaims, public: str, name: str, token: str) -> None:
    """Raise JwtError unless a token from a server is that of the account, and signed by the operator or the account."""
    claims = AccountClaims.from_token(token)
    if claims.subject != public or claims.name != name:
        raise JwtError(f"the server gave account {quote(claims.name)} with key {claims.subject}")
    if not operator.did_sign(claims) and not claims.is_self_signed:
        raise JwtError(f"key {claims.issuer} does not sign for operator {quote(operator.name)}")
