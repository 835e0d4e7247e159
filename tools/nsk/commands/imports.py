"""``add import`` and ``delete import``: what an account takes from others."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from auth.claims import ActivationClaims, Import
from auth.creds import parse_decorated_jwt
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk import exchange
from tools.nsk.cli import Command
from tools.nsk.download import read_source
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.subjects import warn_of_lost_dollars
from tools.nsk.values import format_date


@dataclass(frozen=True, slots=True)
class ImportResult:
    """An import that was added or deleted."""

    account: Annotated[str, "the name of the account that takes it"]
    name: Annotated[str, "the import's name"]
    type: Annotated[Literal["stream", "service"], "whether messages are taken or requests made"]
    source: Annotated[str, "the public key of the account that offers it"]
    subject: Annotated[str, "the subject in that account"]
    local_subject: Annotated[str, "the subject in the account that takes it"]
    private: Annotated[bool, "whether it is taken with an activation"]


def _result(account: str, item: Import) -> ImportResult:
    kind: Literal["stream", "service"] = "service" if item.is_service else "stream"
    local = item.effective_local_subject
    return ImportResult(account, item.name, kind, item.account, item.subject, local, bool(item.token))


def _add(session: Session, flags: Flags) -> ImportResult:
    sources = [name for name in ("token", "remote-subject", "src-account") if flags.given(name)]
    if "token" in sources and len(sources) > 1:
        raise NskError("private imports require src-account, remote-subject and service to be unset", show_usage=True)
    if "token" not in sources and len(sources) != 2:
        raise NskError("public imports require src-account, remote-subject", show_usage=True)
    store = session.store
    account = session.working_account(flags.text("account"))
    report = Report()
    item = _private(session, flags, account, report) if flags.text("token") else _public(session, flags)
    item.share = flags.boolean("share")
    # Tracing goes into the importer's account with a stream; with a service the exporter decides.
    item.allow_trace = flags.boolean("allow-trace") and not item.is_service
    claims = exchange.add_import(store, account, item, signer=session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT))
    submit(store, claims, report)
    report.ok(f"added {item.type} import {quote(item.subject)}")
    warn_of_lost_dollars(report, (item.subject, item.local_subject))
    session.finish(report)
    return _result(account, item)


def _public(session: Session, flags: Flags) -> Import:
    subject = flags.text("remote-subject")
    return Import(
        name=flags.text("name") or subject,
        subject=subject,
        account=session.account_key(flags.text("src-account"), "src-account"),
        local_subject=flags.text("local-subject"),
        type=exchange.kind_of(service=flags.boolean("service")),
    )


def _private(session: Session, flags: Flags, account: str, report: Report) -> Import:
    token = _token(session, flags.text("token"))
    activation = exchange.opened_activation(session.store.account(account), token)
    _warn_if_expired(activation, report)
    subject = activation.nats.import_subject
    service = activation.nats.kind == exchange.SERVICE
    return Import(
        name=flags.text("name") or activation.name,
        subject=subject,
        account=activation.exporting_account,
        token=token,
        local_subject=flags.text("local-subject") or (subject if service else ""),
        type=exchange.kind_of(service=service),
    )


def _token(session: Session, source: str) -> str:
    """The token in a file or behind an URL; it is kept in the import itself. Raises NskError."""
    try:
        return parse_decorated_jwt(read_source(session, source))
    except FileNotFoundError as error:
        reason = f"stat {error.filename}: no such file or directory"
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
    except NskError as error:
        reason = error.text
    raise NskError(f"error loading `{source}`: {reason}")


def _warn_if_expired(activation: ActivationClaims, report: Report) -> None:
    if activation.expires_at and activation.expires_at <= time.time():
        report.warn(
            f"the activation expired at {format_date(activation.expires_at)}, so that servers give nothing for it: "
            "ask for another"
        )


_ACCOUNT = text("account", "a", "account name")

ADD = Command(
    "import",
    "Add an import",
    _add,
    (
        _ACCOUNT,
        boolean("allow-trace", "", "allow trace requests"),
        text("local-subject", "s", "local subject"),
        text("name", "n", "import name"),
        text("remote-subject", "", "remote subject (only public imports)"),
        boolean("service", "", "service"),
        boolean("share", "", "share data when tracking latency (service only)"),
        text("src-account", "", "src-account"),
        text("token", "u", "path to token file can be a local path or an url (private imports only)"),
    ),
    examples="""\
nsk add import -i
nsk add import --token <filepath> --local-subject <sub>
nsk add import --token <some-http-url> --local-subject <sub>
nsk add import --src-account <account_pubkey> --remote-subject <remote-sub> --local-subject <sub>""",
    changes=True,
    result=ImportResult,
)


def _delete(session: Session, flags: Flags) -> ImportResult:
    store = session.store
    account = session.working_account(flags.text("account"))
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    item = exchange.delete_import(store, account, flags.text("subject"), flags.text("src-account"), signer=signer)
    report = Report()
    report.ok(f"deleted {item.type} import {quote(item.subject)}")
    submit(store, store.account(account), report)
    session.finish(report, summarise=True)
    return _result(account, item)


DELETE = Command(
    "import",
    "Delete an import",
    _delete,
    (
        _ACCOUNT,
        text("src-account", "", "source account (only if subject is ambiguous)"),
        text("subject", "s", "stream/service subject"),
    ),
    examples="""\
nsk delete import -i
nsk delete import -s "bar.>\"""",
    changes=True,
    result=ImportResult,
)
