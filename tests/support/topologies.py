"""Small worlds of accounts for property tests: what they offer each other, who is connected, and who listens to what.

All of them are configurations that both servers accept: imports lead from later accounts to earlier ones, or to the own
one under another name, and only to what is exported to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.oracle.exchange import (
    CHUNKED,
    SERVICE,
    SINGLETON,
    STREAM,
    STREAMED,
    Account,
    Export,
    Import,
    Rewriting,
    Rules,
    User,
)
from tests.oracle.names import collide, covers, fits, inverted, renamed

NAMES = ("A", "B", "C", "D")
BASE = ("a", "b", "a.a", "a.b", "b.a", "b.b", "a.b.a")
SERVICES = ("a", "b", "a.b", "a.*", "a.>", "b.*", "a.*.*")
STREAMS = (*SERVICES, "*.b", "*.*", "*", ">")
REPLIES = ("r.1", "r.2.x")
LISTENED = (*STREAMS, "r.*", "r.>", "_R_.>", "*.a", "x.>", "x.*", "*.*.*", "p.>", "p.*.b")
QUEUES = (None, None, None, "q", "w")


@dataclass(frozen=True)
class Interest:
    """A subscription that somebody makes."""

    user: str
    subject: str
    queue: str | None


@dataclass(frozen=True)
class Presence:
    """How a client connects."""

    user: str
    echo: bool
    headers: bool
    no_responders: bool


@dataclass(frozen=True)
class Scene:
    """Accounts, one client for each user, and their subscriptions."""

    accounts: tuple[Account, ...]
    presences: tuple[Presence, ...]
    interests: tuple[Interest, ...]


@st.composite
def scenes(draw: st.DrawFn, *, plain: bool = False) -> Scene:
    """Any scene; ``plain`` leaves out what the reference leaves to chance, or does in a way of its own."""
    accounts: list[Account] = []
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    for name in names:
        accounts.append(draw(_accounts(name, accounts, names, plain)))
    users = [user.name for account in accounts for user in account.users]
    presences = tuple(Presence(user, draw(_mostly), draw(_mostly), draw(_mostly)) for user in users)
    interests = draw(st.lists(_interests(accounts), min_size=6, max_size=20))
    return Scene(tuple(accounts), presences, tuple(interests))


_mostly = st.sampled_from((True, True, True, False))


@st.composite
def _interests(draw: st.DrawFn, accounts: Sequence[Account]) -> Interest:
    account = draw(st.sampled_from(list(accounts)))
    user = draw(st.sampled_from(list(account.users)))
    local = [inverted(taken.subject, taken.here)[0] for taken in account.imports]
    subject = draw(st.sampled_from([*LISTENED, *BASE, *local, *local]))
    return Interest(user.name, subject, draw(st.sampled_from(QUEUES)))


@st.composite
def _accounts(draw: st.DrawFn, name: str, earlier: Sequence[Account], known: Sequence[str], plain: bool) -> Account:
    account = Account(name)
    imports: list[Import] = []
    for _ in range(draw(st.integers(1, 5)) if earlier else 0):
        exporter = draw(st.sampled_from(list(earlier)))
        taken = draw(_imports(name, exporter, "x"))
        if taken is not None and _is_new(taken, imports, plain):
            imports.append(taken)
    account = replace(account, imports=tuple(imports))
    account = replace(account, exports=draw(_exports(account, known)))
    # The reference takes an import of a service that its exporter imports from itself for a circle.
    if draw(st.integers(0, 3)) == 0 and not (plain and name != known[-1]):
        own = draw(_imports(name, account, "own"))
        if (
            own is not None
            and not collide(own.subject, inverted(own.subject, own.here)[0])
            and _is_new(own, imports, plain)
        ):
            account = replace(account, imports=(*account.imports, own))
    users = tuple(
        User(f"{name.lower()}{number}", draw(_rules(account, plain))) for number in range(draw(st.integers(1, 2)))
    )
    account = replace(account, users=users)
    return replace(account, mappings=draw(_mappings(account, plain)))


def _is_new(taken: Import, imports: Sequence[Import], plain: bool) -> bool:
    """Whether no import is there already that would be refused beside it.

    The reference has one `share` for all imports of one service.
    """
    same_kind = [each for each in imports if each.kind == taken.kind]
    if taken.kind == STREAM or plain:
        same_kind_and_source = [each for each in same_kind if each.account == taken.account]
        if any(each.subject == taken.subject for each in same_kind_and_source):
            return False
    here = inverted(taken.subject, taken.here)[0]
    return taken.kind == STREAM or all(inverted(each.subject, each.here)[0] != here for each in same_kind)


@st.composite
def _exports(draw: st.DrawFn, account: Account, known: Sequence[str]) -> tuple[Export, ...]:
    response = draw(st.sampled_from((SINGLETON, SINGLETON, STREAMED, CHUNKED)))
    local = {kind: [inverted(i.subject, i.here)[0] for i in account.imports if i.kind == kind] for kind in _PATTERNS}
    exports: list[Export] = []
    for _ in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from((STREAM, SERVICE)))
        if draw(st.integers(0, 5)) == 0:
            export = Export(kind, "t.*", position=2, response=response)
        else:
            subject = draw(st.sampled_from([*_PATTERNS[kind], *local[kind], *local[kind]]))
            export = Export(kind, subject, response=response)
        if draw(st.integers(0, 4)) == 0:
            export = replace(export, accounts=draw(st.frozensets(st.sampled_from(known), min_size=1)))
        if all(each.kind != kind or not collide(each.subject, export.subject) for each in exports):
            exports.append(export)
    return tuple(exports)


_PATTERNS = {STREAM: STREAMS, SERVICE: SERVICES}


@st.composite
def _imports(draw: st.DrawFn, importer: str, exporter: Account, prefix: str) -> Import | None:
    if not exporter.exports:
        return None
    export = draw(st.sampled_from(list(exporter.exports)))
    if export.position:
        subject = f"t.{importer}"
    else:
        parts = [export.subject, export.subject, *(s for s in _PATTERNS[export.kind] if covers(export.subject, s))]
        subject = draw(st.sampled_from(parts))
    taken = Import(export.kind, exporter.name, subject, share=export.kind == SERVICE and draw(st.booleans()))
    if not export.permits(importer, taken, 0.0):
        return None
    form = draw(st.sampled_from(("same", "prefix", "renamed"))) if prefix == "x" else "renamed"
    if form == "renamed":
        return replace(taken, to=draw(_renamings(prefix, subject)))
    if form == "prefix":
        return replace(taken, prefix="p") if taken.kind == STREAM else replace(taken, to=f"p.{subject}")
    return taken


@st.composite
def _renamings(draw: st.DrawFn, prefix: str, subject: str) -> str:
    """Another name for a subject, with its wildcards in any order."""
    tokens = subject.split(".")
    order = draw(st.permutations(range(1, tokens.count("*") + 1)))
    between = draw(st.sampled_from(([], ["y"])))
    words = [prefix, *(f"${number}" for number in order), *between]
    if tokens[-1] == ">":
        words.append(">")
    return ".".join(words)


@st.composite
def _mappings(draw: st.DrawFn, account: Account, plain: bool) -> tuple[Rewriting, ...]:
    limited = any(user.rules != Rules() for user in account.users)
    mappings: list[Rewriting] = []
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        source = draw(st.sampled_from(SERVICES))
        mapping = Rewriting(source, draw(_destinations(source, may_drop=not (limited and plain))))
        if all(each.source != source and not (plain and collide(each.source, source)) for each in mappings):
            mappings.append(mapping)
    return tuple(mappings)


@st.composite
def _destinations(draw: st.DrawFn, source: str, *, may_drop: bool) -> tuple[tuple[str, int], ...]:
    tokens = source.split(".")
    if tokens[-1] == ">":
        targets = ["m.>", "b.>"]
    elif tokens.count("*") == 2:
        targets = ["m.$2.$1", "b.$1", "b.b"]
    else:
        targets = ["m.$1", "b.b.$1", "b.b"] if "*" in tokens else ["m", "b.b", "a.b.a"]
    chosen = draw(st.lists(st.sampled_from(targets), min_size=1, max_size=2, unique=True))
    weights = draw(st.sampled_from(((100,), (40,)) if len(chosen) == 1 else ((50, 50), (30, 20))))
    destinations = tuple(zip(chosen, weights, strict=True))
    if may_drop and "*" not in source and ">" not in source and weights[0] < 50 and draw(st.booleans()):
        destinations = (*destinations, (source, 0))
    return destinations


@st.composite
def _rules(draw: st.DrawFn, account: Account, plain: bool) -> Rules:
    if draw(st.integers(0, 2)):
        return Rules()
    local = [inverted(taken.subject, taken.here)[0] for taken in account.imports]
    subjects = st.sampled_from([*STREAMS, *local])
    publish = st.lists(st.sampled_from([*STREAMS, *local, "_R_.>", "_R_.>"]), max_size=3, unique=True).map(tuple)
    queued = st.builds(lambda subject, queue: f"{subject} {queue}", subjects, st.sampled_from(("q", "w")))
    listen = st.lists(subjects, max_size=3, unique=True).map(tuple)
    listen_queued = st.lists(subjects | queued, max_size=4, unique=True).map(tuple)
    return Rules(
        draw(st.just(()) | publish),
        draw(st.just(()) | publish),
        draw(st.just(()) | listen_queued),
        draw(st.just(()) | (listen if plain else listen_queued)),
        draw(st.sampled_from((None, None, 1, 2, -1))),
    )


def spoken(account: Account) -> list[str]:
    """Subjects that its clients publish to: those of everybody, and what its imports make of them here."""
    found = list(BASE)
    for taken in account.imports:
        position = f"t.{account.name}"
        found += [renamed(taken.subject, taken.here, s) for s in (*BASE, position) if fits(taken.subject, s)]
    return list(dict.fromkeys(found))
