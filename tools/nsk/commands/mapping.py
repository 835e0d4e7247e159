"""``add mapping`` and ``delete mapping``: where an account's messages go instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auth.claims import AccountClaims, WeightedMapping
from auth.nkey import KeyKind
from tools.nsk import exchange
from tools.nsk.cli import Command
from tools.nsk.flags import BYTE, Flag, Flags, text
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.subjects import required, warn_of_lost_dollars


@dataclass(frozen=True, slots=True)
class MappingTarget:
    """One target of a mapping."""

    subject: Annotated[str, "where messages go"]
    weight: Annotated[int, "the share in percent"]
    cluster: Annotated[str, "the cluster where it counts, empty for all without targets of their own"]


@dataclass(frozen=True, slots=True)
class MappingResult:
    """A mapping, after what the command did."""

    account: Annotated[str, "the account's name"]
    source: Annotated[str, "the subject that is mapped"]
    targets: Annotated[list[MappingTarget], "all its targets; none when it is not mapped"]


def _result(account: str, source: str, claims: AccountClaims) -> MappingResult:
    targets = claims.nats.mappings.get(source, [])
    return MappingResult(
        account, source, [MappingTarget(item.subject, item.effective_weight, item.cluster) for item in targets]
    )


def _add(session: Session, flags: Flags) -> MappingResult:
    store = session.store
    account = session.working_account(flags.text("account"))
    required(flags, "from", "from subject is required")
    required(flags, "to", "to subject is required", show_usage=False)
    source, subject = flags.text("from"), flags.text("to")
    target = WeightedMapping(subject=subject, weight=flags.number("weight"), cluster=flags.text("cluster"))
    claims = exchange.add_mapping(
        store, account, source, target, signer=session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    )
    report = Report()
    submit(store, claims, report)
    report.ok(f"added mapping {source} -> {subject}, weight {target.effective_weight}%")
    warn_of_lost_dollars(report, (source, subject))
    session.finish(report)
    return _result(account, source, claims)


_ACCOUNT = text("account", "a", "account name")
_CLUSTER = text("cluster", "", "in which cluster this mapping should apply")
_FROM = text("from", "f", "map from subject (required)")

ADD = Command(
    "mapping",
    "Add (or modify) a mapping entry",
    _add,
    (
        _ACCOUNT,
        _CLUSTER,
        _FROM,
        text("to", "t", "to subject (required)"),
        Flag("weight", "", "weight [1-100] of this mapping entry (default: 100)", kind=BYTE),
    ),
    examples="""\
nsk add mapping --from "a" --to "b"
# to modify an entry, say to set a weight after the fact
nsk add mapping --from "a" --to "b" --weight 50
# to add two entries from one subject, set weights and execute multiple times
nsk add mapping --from "a" --to "c" --weight 50
""",
    changes=True,
    result=MappingResult,
)


def _delete(session: Session, flags: Flags) -> MappingResult:
    store = session.store
    account = session.plain_account(flags.text("account"))
    source, target, cluster = flags.text("from"), flags.text("to"), flags.text("cluster")
    required(flags, "from", "from subject is required", show_usage=False)
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    exchange.delete_mapping(store, account, source, target, cluster, signer=signer)
    report = Report()
    if target:
        # nsc names the cluster in place of the source here; scripts may wait for its words.
        words = f"mapping {cluster} -> {source} in cluster {cluster}" if cluster else f"mapping {source} -> {target}"
    else:
        words = f"all mapping{f' in cluster {cluster}' if cluster else ''} for {source}"
    report.ok(f"deleted {words}")
    claims = store.account(account)
    submit(store, claims, report)
    session.finish(report, summarise=True)
    return _result(account, source, claims)


DELETE = Command(
    "mapping",
    "Delete a mapping",
    _delete,
    (
        _ACCOUNT,
        _CLUSTER,
        _FROM,
        text(
            "to",
            "t",
            "to subject. When present, only that particular mapping is removed. "
            "Otherwise all mappings for from subject are.",
        ),
    ),
    changes=True,
    result=MappingResult,
)
