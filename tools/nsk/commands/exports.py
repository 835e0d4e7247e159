"""``add export``, ``edit export`` and ``delete export``: what an account offers to others."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from auth.claims import Export, ServiceLatency
from auth.claims.exchange import HEADERS_SAMPLING, RESPONSE_TYPES
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk import exchange
from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import DURATION, UNSIGNED, Flag, Flags, Value, boolean, text
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.subjects import refuse_unless_subject, required, warn_of_lost_dollars

_HEADER: Final = "header"
_SINGLETON: Final = RESPONSE_TYPES[0]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An export that was added, edited or deleted."""

    account: Annotated[str, "the name of the account that offers it"]
    name: Annotated[str, "the export's name"]
    subject: Annotated[str, "the subject that is offered"]
    type: Annotated[Literal["stream", "service"], "whether messages are given or requests taken"]
    private: Annotated[bool, "whether importers need an activation"]


def _result(account: str, export: Export) -> ExportResult:
    kind: Literal["stream", "service"] = "service" if export.is_service else "stream"
    return ExportResult(account, export.name, export.subject, kind, export.token_required)


def _sampling(given: str) -> int | str:
    """A percentage, or what stands for headers in claims. Raises NskError."""
    if given.lower() in ("", "0", _HEADER):
        return HEADERS_SAMPLING
    try:
        return int(given)
    except ValueError:
        raise NskError(f"sampling {quote(given)} is no percentage from 1 to 100 and not {_HEADER}") from None


def _refuse_unknown_response(response: str) -> None:
    if response not in RESPONSE_TYPES:
        raise NskError(f"unknown response type {quote(response)}")


def _add(session: Session, flags: Flags) -> ExportResult:
    store = session.store
    account = session.working_account(flags.text("account"))
    required(flags, "subject", "a subject is required")
    subject = flags.text("subject")
    export = Export(
        name=flags.text("name") or subject,
        subject=subject,
        type=exchange.kind_of(service=flags.boolean("service")),
        token_required=flags.boolean("private"),
        account_token_position=flags.number("account-token-position"),
        advertise=flags.boolean("advertise"),
        allow_trace=flags.boolean("allow-trace"),
    )
    if export.is_service:
        export.response_type = flags.text("response-type")
        export.response_threshold = flags.number("response-threshold")
        if not export.response_type:
            _refuse_unknown_response("")
    elif flags.given("response-type"):
        raise NskError("response type can only be specified in conjunction with service")
    if results := flags.text("latency"):
        refuse_unless_subject(results)
        export.service_latency = ServiceLatency(sampling=_sampling(flags.text("sampling")), results=results)
    claims = exchange.add_export(store, account, export, signer=session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT))
    report = Report()
    submit(store, claims, report)
    visibility = "private" if export.token_required else "public"
    report.ok(f"added {visibility} {export.type} export {quote(export.name)}")
    warn_of_lost_dollars(report, (subject, results))
    session.finish(report)
    return _result(account, export)


_ACCOUNT = text("account", "a", "account name")
_SUBJECT = text("subject", "s", "subject")
_RESPONSE_FLAGS = (
    Flag("response-threshold", "", "response threshold duration (units ms/s/m/h) (services only)", kind=DURATION),
    text(
        "response-type",
        "",
        f"response type for the service [{' | '.join(RESPONSE_TYPES)}] (services only)",
        default=_SINGLETON,
    ),
)
_SHARED = (
    _ACCOUNT,
    boolean("allow-trace", "", "allow trace requests"),
    text("latency", "", "latency metrics subject (services only)"),
    text("name", "n", "export name"),
    boolean("private", "p", "private export - requires an activation to access"),
    boolean("service", "r", "export type service"),
    _SUBJECT,
    *_RESPONSE_FLAGS,
)


def _sampling_flag(note: str) -> Flag:
    return Flag("sampling", "", f"latency sampling percentage [1-100] or header {note}", kind=Value(_HEADER, str))


ADD = Command(
    "export",
    "Add an export",
    _add,
    (
        *_SHARED,
        Flag(
            "account-token-position",
            "",
            "subject token position where account is expected (public exports only)",
            kind=UNSIGNED,
        ),
        boolean("advertise", "", "advertise export", hidden=True),
        _sampling_flag(" (services only)"),
    ),
    examples="""\
nsk add export -i
nsk add export --subject "a.b.c.>"
nsk add export --service --subject a.b
nsk add export --name myexport --subject a.b --service""",
    changes=True,
    result=ExportResult,
)


_EDITS: Final = (
    "name",
    "subject",
    "service",
    "private",
    "latency",
    "sampling",
    "response-type",
    "description",
    "info-url",
    "allow-trace",
)


def _edit(session: Session, flags: Flags) -> ExportResult:
    store = session.store
    if not flags.given(*_EDITS):
        raise NskError("please specify some options")
    account = session.working_account(flags.text("account"))
    change = exchange.Change(store, account)
    old = _chosen(exchange.exports_of(change.claims), flags)
    report = Report()
    new = _edited(old, flags, report)
    exports = change.claims.nats.exports
    exports[exports.index(old)] = new
    if faults := change.new_faults():
        for fault in faults:
            report.error(fault)
        session.output.report(report)
        raise NskError(report.failure() or "", show_usage=True)
    claims = change.sign(session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT))
    submit(store, claims, report)
    report.ok(f"edited {new.type} export {quote(new.name)}")
    warn_of_lost_dollars(report, (flags.text("latency"),))
    session.finish(report)
    return _result(account, new)


def _chosen(exports: list[Export], flags: Flags) -> Export:
    if len(exports) == 1 and not flags.text("subject"):
        return exports[0]
    required(flags, "subject", "a subject is required")
    for export in exports:
        if export.subject == flags.text("subject"):
            return export
    raise NskError(f"no export with subject {quote(flags.text('subject'))} found", show_usage=True)


def _edited(old: Export, flags: Flags, report: Report) -> Export:
    """The export as the flags want it; what they do not name stays. Raises NskError."""
    new = copy(old)
    if flags.given("service"):
        new.type = exchange.kind_of(service=flags.boolean("service"))
    if flags.given("response-threshold"):
        new.response_threshold = flags.number("response-threshold")
    if flags.given("allow-trace"):
        new.allow_trace = flags.boolean("allow-trace")
    _refuse_unfit(new, flags)
    if flags.given("name"):
        new.name = flags.text("name")
    if new.name != old.name:
        report.ok(f"changed export name to {new.name}")
    if flags.given("private"):
        new.token_required = flags.boolean("private")
    if new.token_required != old.token_required:
        # nsc says so of an export that becomes public, too; scripts may wait for its words.
        report.warn("changed export to be private - this will break importers")
    if new.type != old.type:
        report.warn(f"changed export type to {quote(new.type)} - this will break importers")
    _edit_service(old, new, flags, report)
    for flag, field, label in (("description", "description", "description"), ("info-url", "info_url", "info url")):
        if flags.given(flag):
            setattr(new, field, flags.text(flag))
        if getattr(new, field) != getattr(old, field):
            report.ok(f"changed {label} to {quote(getattr(new, field))}")
    if new.allow_trace != old.allow_trace:
        report.ok(f"changed allowed trace to {str(new.allow_trace).lower()}")
    return new


def _refuse_unfit(new: Export, flags: Flags) -> None:
    if not new.is_service and new.response_threshold:
        raise NskError("response threshold is only applicable to services", show_usage=True)
    if not new.is_service and new.allow_trace:
        raise NskError("allow trace is only applicable to services", show_usage=True)
    if flags.boolean("private") and new.account_token_position:
        raise NskError("account token position is only valid for public exports", show_usage=True)
    if new.is_service and flags.given("response-type") and flags.text("response-type") not in RESPONSE_TYPES:
        raise NskError(f"unknown response type {quote(flags.text('response-type'))}", show_usage=True)


def _edit_service(old: Export, new: Export, flags: Flags, report: Report) -> None:
    if not new.is_service:
        new.service_latency, new.response_type = None, ""
        return
    if flags.boolean("rm-latency-sampling"):
        new.service_latency = None
        report.ok(
            "removed latency tracking"
            if old.service_latency
            else "no need to remove latency tracking as it was not set"
        )
    else:
        _edit_latency(new, old.service_latency, flags, report)
    if flags.given("response-type"):
        new.response_type = flags.text("response-type")
    elif flags.text("latency"):
        # Only the answer of a singleton is measured.
        new.response_type = ""
    unchanged = (old.response_type or _SINGLETON) == (new.response_type or _SINGLETON)
    if unchanged and new.response_type == _SINGLETON:
        # The default goes without saying.
        new.response_type = ""
    if flags.given("response-type") and not unchanged:
        report.ok(f"changed response type to {new.response_type}")


def _edit_latency(new: Export, old: ServiceLatency | None, flags: Flags, report: Report) -> None:
    results = flags.text("latency") if flags.given("latency") else old.results if old else ""
    if not results:
        new.service_latency = None
        return
    sampling = (
        _sampling(flags.text("sampling")) if flags.given("sampling") else old.sampling if old else HEADERS_SAMPLING
    )
    new.service_latency = ServiceLatency(sampling=sampling, results=results)
    if _percentage(sampling) != _percentage(old.sampling if old else HEADERS_SAMPLING):
        report.ok(f"changed service latency to {_percentage(sampling)}%")
    if old and old.results and old.results != results:
        report.ok(f"changed service latency subject to {results}")
        report.warn("changed latency subject will break consumers of the report")


def _percentage(sampling: int | str) -> int:
    return sampling if isinstance(sampling, int) else 0


EDIT = Command(
    "export",
    "Edit an export",
    _edit,
    (
        *_SHARED,
        text("description", "", "Description for this export"),
        text("info-url", "", "Link for more info on this export"),
        boolean("rm-latency-sampling", "", "remove latency sampling"),
        _sampling_flag("- 0 disables it (services only)"),
    ),
    changes=True,
    result=ExportResult,
)


def _delete(session: Session, flags: Flags) -> ExportResult:
    store = session.store
    account = session.plain_account(flags.text("account"))
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    export = exchange.delete_export(store, account, flags.text("subject"), signer=signer)
    report = Report()
    report.ok(f"deleted {export.type} export {quote(export.subject)}")
    submit(store, store.account(account), report)
    session.finish(report, summarise=True)
    return _result(account, export)


DELETE = Command("export", "Delete an export", _delete, (_ACCOUNT, _SUBJECT), changes=True, result=ExportResult)
