"""``fix``: a project tree made anew from the JWTs, seeds and creds files that lie in some directories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tools.nsk.cli import Command
from tools.nsk.collection import Collection
from tools.nsk.errors import NskError, without_usage
from tools.nsk.flags import STRINGS, Flag, Flags, boolean, text
from tools.nsk.manuals import FIX_EXAMPLES
from tools.nsk.migration import unique_name
from tools.nsk.rebuild import KEYS, OPERATORS, Rebuilder
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.transaction import Files


@dataclass(frozen=True, slots=True)
class FixedTree:
    """What ``fix`` made."""

    stores: Annotated[str, "the directory of the operators"]
    keystore: Annotated[str, "the directory of the seeds and creds files"]
    operators: Annotated[int, "how many operators were stored"]
    accounts: Annotated[int, "how many accounts were stored"]
    users: Annotated[int, "how many users were stored"]
    keys: Annotated[int, "how many seeds were stored"]


def _fix(session: Session, flags: Flags) -> FixedTree:
    if not flags.given("in"):
        raise NskError('required flag(s) "in" not set')
    environment = session.environment
    directory = environment.absolute(flags.text("out") or f"fix_{unique_name()}")
    report = Report()
    work = report.section("")
    with without_usage():
        places = [environment.absolute(place) for place in flags.strings("in")]
        found = Collection.of(places, work, creds=flags.boolean("creds"))
        if not found.operators:
            raise NskError("no operator found")
        # What is made lies apart from the store, and so does the journal with the seeds.
        files = Files()
        rebuilder = Rebuilder(found, directory, files)
        with files.transaction(directory):
            rebuilder.rebuild(work.section("Generate"))
        session.output.report(report)
        if (failure := work.failure()) is not None:
            raise NskError(failure)
    counts = rebuilder.counts
    stores, keys = directory / OPERATORS, directory / KEYS
    for number, what in (
        (counts.operators, "operators"),
        (counts.accounts, "accounts"),
        (counts.users, "users"),
        (counts.keys, "nkeys"),
    ):
        session.output.message(f"stored {number} {what}")
    export = f"export NKEYS_PATH={keys}\n" if counts.keys else ""
    session.output.message(f"\n{export}cd {stores}\n{session.output.program} list operators")
    return FixedTree(str(stores), str(keys), counts.operators, counts.accounts, counts.users, counts.keys)


FIX = Command(
    "fix",
    "rebuilds a project tree from jwts, nk and cred files found in the input directories",
    _fix,
    (
        boolean("creds", "", "import creds"),
        Flag("in", "", "input paths", kind=STRINGS, multiple=True),
        text("out", "", "output dir"),
    ),
    arguments=(0, 8),
    examples="""\
nsk fix --in <dir>,<dir2>,<dir3> --out <outdir>
nsk fix --creds --in <dir> --out <outdir> (takes user JWTs and nkeys from creds files too)
# JWTs are then in <outdir>/operators and nkeys in <outdir>/keys. Of several JWTs of one entity the last issued wins.
export NKEYS_PATH=<outdir>/keys; cd <outdir>/operators; nsk list operators""",
    nsc_examples=FIX_EXAMPLES,
    usage_on_error=True,
    result=FixedTree,
)
