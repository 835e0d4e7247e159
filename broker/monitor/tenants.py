"""/accountz: the accounts that the server knows, and one of them in detail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from auth.claims import AccountClaims, Issue, IssueLevel
from auth.envelope import JwtError
from broker.monitor.exchange import DestinationDetail, ExportDetail, ImportDetail, exports, imports, mappings
from broker.monitor.query import QueryError
from broker.monitor.subscriptions import SublistStats, sublist_stats
from broker.wire.values import moment, readable

if TYPE_CHECKING:
    from broker.monitor.watched import Watched


class Finding(msgspec.Struct, kw_only=True):
    """Something about the account's JWT that a validation points out."""

    description: str
    blocking: bool
    time_check: bool


class AccountDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One account. Fields with a default are left out where they hold it."""

    account_name: str
    update_time: str
    is_system: bool = False
    expired: bool
    complete: bool
    jetstream_enabled: bool
    leafnode_connections: int
    client_connections: int
    subscriptions: int
    mappings: dict[str, list[DestinationDetail]] = msgspec.field(default_factory=dict)
    exports: list[ExportDetail] = msgspec.field(default_factory=list)
    imports: list[ImportDetail] = msgspec.field(default_factory=list)
    jwt: str = ""
    issuer_key: str = ""
    name_tag: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    decoded_jwt: AccountClaims | None = None
    validation_result_jwt: list[Finding] = msgspec.field(default_factory=list)
    revoked_user: dict[str, str] = msgspec.field(default_factory=dict)
    sublist_stats: SublistStats


class Accountz(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The names of all accounts, or the account that was asked for."""

    server_id: str
    now: str
    system_account: str = ""
    accounts: list[str] = msgspec.field(default_factory=list)
    account_detail: AccountDetail | None = None


def accountz(watched: Watched, name: str) -> Accountz:
    """All accounts, or the one of that name. Raises QueryError for an unknown one."""
    answer = Accountz(
        server_id=watched.identity.server_id, now=moment(time.time()), system_account=watched.system_account
    )
    if name:
        answer.account_detail = account_detail(watched, name)
    else:
        answer.accounts = [readable(one) for one in watched.account_names]
    return answer


def account_detail(watched: Watched, name: str) -> AccountDetail:
    """One account. Raises QueryError where there is none of that name."""
    account = watched.account(name)
    if account is None:
        raise QueryError(f"Account {name} does not exist")
    now = time.time()
    tenant = watched.service.control.tenants.get(account.name)
    detail = AccountDetail(
        account_name=readable(account.name),
        update_time=moment(watched.configured_at),
        is_system=account.is_system or account.name == watched.system_account,
        expired=account.expires_at is not None and account.expires_at <= now,
        complete=True,
        jetstream_enabled=(streams := watched.jetstream()) is not None and streams.has(account.name),
        leafnode_connections=0,
        client_connections=0 if tenant is None else len(tenant.sessions),
        subscriptions=0 if tenant is None else tenant.subscriptions,
        mappings=mappings(account),
        exports=exports(account),
        imports=imports(account, watched.account, now),
        issuer_key=account.issuer,
        name_tag=readable(account.label),
        tags=list(account.tags),
        revoked_user={key: moment(at) for key, at in account.revocations.items()},
        sublist_stats=SublistStats() if tenant is None else sublist_stats(tenant),
    )
    detail.complete = not any(one.invalid for one in detail.imports)
    token = watched.account_token(account.name)
    if token:
        detail.jwt = token
        try:
            claims = detail.decoded_jwt = AccountClaims.from_token(token)
        except JwtError:
            detail.complete = False
        else:
            detail.validation_result_jwt = [_finding(issue) for issue in claims.validate(now)]
    return detail


def _finding(issue: Issue) -> Finding:
    return Finding(
        description=issue.description,
        blocking=issue.level is IssueLevel.ERROR,
        time_check=issue.level is IssueLevel.TIME,
    )
