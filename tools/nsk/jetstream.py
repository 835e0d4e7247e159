"""Flags that set an account's JetStream limits: global ones, or ones for each number of replicas (tier)."""

from __future__ import annotations

from auth.claims import UNLIMITED, JetStreamLimits, OperatorLimits
from tools.nsk.errors import NskError
from tools.nsk.flags import INTEGER, Flag, Flags, boolean, number
from tools.nsk.report import Report

_UNITS = "(units: k/m/g/t kib/mib/gib/tib)"
FLAGS = (
    Flag(
        "js-tier",
        "",
        "JetStream: replication tier (0 creates a configuration that applies to all assets) ",
        kind=INTEGER,
        default=0,
    ),
    number(
        "js-mem-storage",
        f"JetStream: set maximum memory storage in bytes for the account (-1 is unlimited / 0 disabled) {_UNITS}",
        0,
    ),
    number(
        "js-disk-storage",
        f"JetStream: set maximum disk storage in bytes for the account (-1 is unlimited / 0 disabled) {_UNITS}",
        0,
    ),
    number("js-streams", "JetStream: set maximum streams for the account (-1 is unlimited)"),
    number("js-consumer", "JetStream: set maximum consumer for the account (-1 is unlimited)"),
    number(
        "js-max-mem-stream",
        f"JetStream: set maximum size of a memory stream for the account (-1 is unlimited / 0 disabled) {_UNITS}",
    ),
    number(
        "js-max-disk-stream",
        f"JetStream: set maximum size of a disk stream for the account (-1 is unlimited / 0 disabled) {_UNITS}",
    ),
    boolean("js-max-bytes-required", "", "JetStream: set whether max stream is required when creating a stream"),
    number(
        "js-max-ack-pending",
        "JetStream: set number of maximum acks that can be pending for a consumer in the account",
    ),
    Flag("js-enable", "", "enables JetStream for the specified tier", kind=INTEGER, default=-1),
    boolean("js-disable", "", "disables all JetStream limits in the account by deleting any limits"),
    Flag(
        "rm-js-tier",
        "",
        "JetStream: remove replication limits for the specified tier (0 is the global tier) "
        "this flag is exclusive of all other js flags",
        kind=INTEGER,
        default=-1,
    ),
)
_NAMES = tuple(flag.long.removeprefix("--") for flag in FLAGS)
_SETTINGS = (
    ("js-streams", "streams", "max streams"),
    ("js-consumer", "consumers", "max consumer"),
    ("js-mem-storage", "memory_storage", "max mem storage"),
    ("js-max-mem-stream", "memory_max_stream_bytes", "max memory stream"),
    ("js-disk-storage", "disk_storage", "max disk storage"),
    ("js-max-disk-stream", "disk_max_stream_bytes", "max disk stream"),
    ("js-max-ack-pending", "max_ack_pending", "max ack pending"),
)
_FIELDS = JetStreamLimits.__struct_fields__


def _given(flags: Flags, *except_for: str) -> list[str]:
    return [name for name in _NAMES if name not in except_for and flags.given(name)]


def edit(flags: Flags, limits: OperatorLimits, report: Report, *, is_system: bool) -> None:
    """Apply the flags. Raises NskError for flags that exclude each other or do not fit what is there.

    As in nsc, the first edit of an account writes its global limits apart from storage as unlimited, which leaves
    JetStream off.
    """
    for exclusive in ("rm-js-tier", "js-disable", "js-enable"):
        if flags.given(exclusive) and _given(flags, exclusive):
            raise NskError(f"{exclusive} is exclusive of all other js options")
    if is_system and flags.given("js-enable"):
        raise NskError("system account cannot have JetStream limits - please rerun with --js-disable")
    if is_system and (used := _given(flags, "js-disable", "rm-js-tier")):
        wanted = ", ".join(f"--{name}" for name in used)
        raise NskError(f"system account cannot have jetstream related settings - please rerun without: {wanted}")
    if not is_system and not flags.given("js-enable"):
        _open_global(limits)
    if flags.boolean("js-disable"):
        _disable(limits, report)
    elif flags.given("rm-js-tier"):
        _remove_tier(flags.number("rm-js-tier"), limits, report)
    elif flags.given("js-enable"):
        _enable(flags.number("js-enable"), limits, report)
    elif _given(flags, "js-tier"):
        _set(flags, limits, report)
    if is_system and limits.is_jetstream_enabled:
        raise NskError("system account cannot have JetStream limits - please rerun with --js-disable")


def _open_global(limits: OperatorLimits) -> None:
    if limits.jetstream == JetStreamLimits() and not limits.tiered_limits:
        _put(limits, _open())


def _open() -> JetStreamLimits:
    return JetStreamLimits(
        streams=UNLIMITED,
        consumers=UNLIMITED,
        max_ack_pending=UNLIMITED,
        memory_max_stream_bytes=UNLIMITED,
        disk_max_stream_bytes=UNLIMITED,
    )


def _put(limits: OperatorLimits, values: JetStreamLimits) -> None:
    for field in _FIELDS:
        setattr(limits, field, getattr(values, field))


def _label(tier: int) -> str:
    return "global" if tier == 0 else f"R{tier}"


def _has_global(limits: OperatorLimits) -> bool:
    return bool(limits.memory_storage or limits.disk_storage)


def _check_mix(tier: int, limits: OperatorLimits) -> None:
    if tier < 0:
        raise NskError(f"a tier is 0 for global limits, or a number of replicas: {tier} is neither")
    if tier == 0 and limits.tiered_limits:
        tiers = ", ".join(sorted(limits.tiered_limits))
        raise NskError(f"cannot set a jetstream global limit when a configuration has tiered limits '{tiers}'")
    if tier != 0 and _has_global(limits):
        raise NskError("cannot set a jetstream tier limit when a configuration has a global limit")


def _disable(limits: OperatorLimits, report: Report) -> None:
    _put(limits, JetStreamLimits())
    report.ok("deleted global limit")
    for tier in sorted(limits.tiered_limits):
        report.ok(f"deleted tier limit {tier}")
    limits.tiered_limits = {}


def _remove_tier(tier: int, limits: OperatorLimits, report: Report) -> None:
    if tier == 0:
        _put(limits, JetStreamLimits())
        report.ok("deleted global limit")
        return
    if _label(tier) not in limits.tiered_limits:
        raise NskError(f"account doesn't have tier {_label(tier)} limit")
    del limits.tiered_limits[_label(tier)]
    report.ok(f"deleted tier limit {_label(tier)}")


def _enable(tier: int, limits: OperatorLimits, report: Report) -> None:
    label = _label(tier)
    if label in limits.tiered_limits or (tier == 0 and _has_global(limits)):
        raise NskError(f"jetstream tier {label} is already enabled")
    _check_mix(tier, limits)
    if tier == 0:
        limits.memory_storage = limits.disk_storage = UNLIMITED
        report.ok("enabled global limit")
        return
    _put(limits, JetStreamLimits())
    limits.tiered_limits[label] = JetStreamLimits(memory_storage=UNLIMITED, disk_storage=UNLIMITED)
    report.ok(f"enabled tier limit {label}")


def _set(flags: Flags, limits: OperatorLimits, report: Report) -> None:
    tier = flags.number("js-tier")
    label = _label(tier)
    _check_mix(tier, limits)
    target: OperatorLimits | JetStreamLimits = limits
    if tier != 0:
        _put(limits, JetStreamLimits())
        target = limits.tiered_limits.setdefault(label, _open())
    for flag, field, words in _SETTINGS:
        if flags.given(flag):
            setattr(target, field, flags.number(flag))
            report.ok(f"changed {label} {words} to {flags.number(flag)}")
    if flags.given("js-max-bytes-required"):
        target.max_bytes_required = flags.boolean("js-max-bytes-required")
        report.ok(f"changed {label} max bytes required to {str(target.max_bytes_required).lower()}")
