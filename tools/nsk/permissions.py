"""Flags that change what users may do, and how they change claims: users', an account's defaults, a role's template."""

from __future__ import annotations

from auth.claims import Permissions, ResponsePermission, TimeRange, UserPermissionLimits
from auth.claims.permissions import CONNECTION_TYPES, is_zone
from auth.gojson import quote
from tools.nsk import extension
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, INTEGER, TIME_RANGES, Flag, Flags, Value, boolean, number, strings, text
from tools.nsk.grants import GRANT_FLAG, REMOVAL_FLAG, edit_grants
from tools.nsk.report import Report
from tools.nsk.subjects import refuse_unless_subject, warn_of_lost_dollars
from tools.nsk.values import format_duration, parse_duration

_TYPES_SHOWN = ("LEAFNODE", "MQTT", "STANDARD", "WEBSOCKET", "LEAFNODE_WS", "MQTT_WS", "IN_PROCESS")
"""The connection types in the order of nsc's help."""
_LISTS = ("allow-pub", "allow-pubsub", "allow-sub", "deny-pub", "deny-pubsub", "deny-sub")


def _zone(name: str) -> str:
    if name and name != "Local" and not is_zone(name):
        raise ValueError(f"unknown time zone {name}")
    return name


def permission_flags(what: str) -> tuple[Flag, ...]:
    """The flags that grant and deny; ``what`` is ``permissions`` or ``default permissions``."""
    return (
        strings("allow-pub", "", f"add publish {what}"),
        strings("allow-pubsub", "", f"add publish and subscribe {what}"),
        strings("allow-sub", "", f"add subscribe {what}"),
        strings("deny-pub", "", f"add deny publish {what}"),
        strings("deny-pubsub", "", f"add deny publish and subscribe {what}"),
        strings("deny-sub", "", f"add deny subscribe {what}"),
        Flag(
            "allow-pub-response",
            "",
            f"{what} to limit how often a client can publish to reply subjects "
            "[with an optional count, --allow-pub-response=n] (global)",
            kind=INTEGER,
            implied="1",
        ),
        Flag("max-responses", "", "", kind=INTEGER, hidden=True),
        text(
            "response-ttl",
            "",
            f"the amount of time the {what} is valid (global) - [#ms(millis) | #s(econds) | m(inutes) | h(ours)]"
            " - Default is no time limit.",
        ),
    )


def removal_flags(what: str) -> tuple[Flag, ...]:
    """The flags that take permissions away again."""
    return (
        strings("rm", "", f"remove publish/subscribe and deny {what}"),
        boolean("rm-response-perms", "", f"remove response settings from {what}"),
    )


USER_LIMIT_FLAGS = (
    boolean("bearer", "", "no connect challenge required for user"),
    strings("conn-type", "", f"set allowed connection types: {' '.join(_TYPES_SHOWN)}"),
    number("data", "set maximum data in bytes for the user (-1 is unlimited)"),
    Flag("locale", "", "set the locale with which time values are interpreted", kind=Value("time-locale", _zone)),
    number("payload", "set maximum message payload in bytes for the account (-1 is unlimited)"),
    strings("rm-conn-type", "", "remove connection types"),
    strings("rm-source-network", "", "remove source network for connection"),
    strings(
        "rm-time",
        "",
        'remove start-end time by start time "hh:mm:ss" (option can be specified multiple times)',
        told=False,
    ),
    strings("source-network", "", "add source network for connection"),
    Flag("subs", "", "set maximum number of subscriptions (-1 is unlimited)", kind=COUNT, default=-1),
    Flag(
        "time",
        "",
        'add start-end time range of the form "hh:mm:ss-hh:mm:ss" (option can be specified multiple times)',
        kind=TIME_RANGES,
        multiple=True,
    ),
    *permission_flags("permissions"),
    *removal_flags("permissions"),
    *extension.RATE_FLAGS,
    GRANT_FLAG,
    REMOVAL_FLAG,
)


def edit_permissions(flags: Flags, permissions: Permissions, report: Report, *, removal: bool = False) -> None:
    """Apply the permission flags. ``removal`` says that the command has those that remove, too.

    Raises NskError for an entry or a duration that is malformed, before anything is changed.
    """
    for name in _LISTS:
        for entry in flags.strings(name):
            _check_entry(entry, publish="pub" in name)
    ttl = flags.text("response-ttl")
    try:
        nanoseconds = parse_duration(ttl) if ttl else None
    except ValueError as error:
        raise NskError(str(error)) from None
    if removal and flags.boolean("rm-response-perms"):
        if flags.given("allow-pub-response", "max-responses", "response-ttl"):
            raise NskError("--rm-response-perms is exclusive of --allow-pub-response and --response-ttl")
        permissions.responses = None
        report.ok("removed response permissions")
    _edit_responses(flags, permissions, nanoseconds, report)
    removed = flags.strings("rm") if removal else []
    both, denied = flags.strings("allow-pubsub"), flags.strings("deny-pubsub")
    for label, permission, verb in (
        ("pub", permissions.publish, "deny pub"),
        ("sub", permissions.subscribe, "deny sub"),
    ):
        _edit_list(permission.allow, [*flags.strings(f"allow-{label}"), *both], removed, label, report)
        # nsc calls a removed "deny sub" entry "sub"; scripts may wait for its words.
        gone = verb if label == "pub" else label
        _edit_list(permission.deny, [*flags.strings(f"deny-{label}"), *denied], removed, verb, report, gone=gone)
    warn_of_lost_dollars(report, (entry for name in _LISTS for entry in flags.strings(name)))


def _check_entry(entry: str, *, publish: bool) -> None:
    blanks = entry.count(" ")
    if publish and blanks:
        raise NskError(f"publish permission subject {quote(entry)} contains illegal space")
    if blanks > 1:
        raise NskError(f"subscribe permission subject {quote(entry)} can at most contain one space")
    refuse_unless_subject(entry.partition(" ")[0])


def _edit_responses(flags: Flags, permissions: Permissions, ttl: int | None, report: Report) -> None:
    maximum = flags.number("allow-pub-response") or flags.number("max-responses")
    if maximum or ttl is not None:
        permissions.responses = permissions.responses or ResponsePermission()
    if maximum and permissions.responses:
        permissions.responses.maximum = maximum
        report.ok(f"set max responses to {maximum}")
    if ttl is not None and permissions.responses:
        permissions.responses.ttl = ttl
        report.ok(f"set response ttl to {format_duration(ttl)}")


def _edit_list(
    entries: list[str], added: list[str], removed: list[str], label: str, report: Report, *, gone: str = ""
) -> None:
    for entry in added:
        if entry not in entries:
            entries.append(entry)
        report.ok(f"added {label} {quote(entry)}")
    for entry in removed:
        if entry in entries:
            entries.remove(entry)
        report.ok(f"removed {gone or label} {quote(entry)}")
    entries.sort()


def edit_limits(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    """Apply the flags of ``USER_LIMIT_FLAGS``. Raises NskError for a value that is malformed."""
    # nsc names the payload "max imports" here; scripts may wait for its words.
    for name, field, label in (
        ("payload", "payload", "max imports"),
        ("data", "data", "max data"),
        ("subs", "subscriptions", "max number of subs"),
    ):
        if flags.given(name):
            setattr(limits, field, flags.number(name))
            report.ok(f"changed {label} to {flags.number(name)}")
    limits.natskeep = extension.edit_user(flags, limits.natskeep, report)
    if flags.given("bearer"):
        if limits.bearer_token == flags.boolean("bearer"):
            report.ok(f"ignoring change to bearer - value is already {str(limits.bearer_token).lower()}")
        else:
            limits.bearer_token = flags.boolean("bearer")
            report.ok(f"changed bearer to {str(limits.bearer_token).lower()}")
    _edit_connection_types(flags, limits, report)
    _edit_networks(flags, limits, report)
    _edit_times(flags, limits, report)
    edit_permissions(flags, limits, report, removal=True)
    edit_grants(flags, limits, report)


def _edit_connection_types(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    types = limits.allowed_connection_types
    added = [name.upper() for name in flags.strings("conn-type")]
    removed = [name.upper() for name in flags.strings("rm-conn-type")]
    for names, what in ((added, ""), (removed, "rm ")):
        for name in names:
            if name not in CONNECTION_TYPES:
                raise NskError(f"unknown {what}connection type {name}")
    for name in added:
        if name not in types:
            types.append(name)
        report.ok(f"added connection type {name}")
    for name in removed:
        if name in types:
            types.remove(name)
        report.ok(f"removed connection type {name}")


def _edit_networks(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    add_networks(flags, limits, report)
    for network in flags.strings("rm-source-network"):
        if network in limits.source_networks:
            limits.source_networks.remove(network)
        report.ok(f"removed src network {network}")
    if flags.given("source-network", "rm-source-network"):
        limits.source_networks.sort()


def add_networks(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    """Apply ``--source-network``."""
    for network in flags.strings("source-network"):
        if network not in limits.source_networks:
            limits.source_networks.append(network)
        report.ok(f"added src network {network}")


def _edit_times(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    for start, end in flags.time_ranges("time"):
        limits.times.append(TimeRange(start=start, end=end))
        report.ok(f"added time range {start}-{end}")
    for text_ in flags.strings("rm-time"):
        for window in [window for window in limits.times if window.start == text_]:
            limits.times.remove(window)
            report.ok(f"removed time range {window.start}-{window.end}")
    if flags.given("locale"):
        limits.times_location = flags.text("locale")
