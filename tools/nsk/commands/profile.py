"""``generate profile``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import msgspec

from auth.gojson import dumps
from tools.nsk.cli import Command
from tools.nsk.commands.describe import OUTPUT_FLAG, STDOUT
from tools.nsk.environment import operators_in
from tools.nsk.errors import NskError
from tools.nsk.files import FILE_MODE, PUBLIC_MODE
from tools.nsk.flags import Flags
from tools.nsk.keystore import KeyStore
from tools.nsk.manuals import PROFILE_EXAMPLES
from tools.nsk.profile import ProfileRequest, find_operator, profile
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store


@dataclass(frozen=True, slots=True)
class GeneratedProfile:
    """What a program needs to know about an operator, an account and a user."""

    profile: Annotated[dict[str, object], "the profile, with the members that the URL asks for"]
    path: Annotated[str | None, "the file that it was written to, null for stdout"]


def _profile(session: Session, flags: Flags) -> GeneratedProfile:
    if not flags.arguments:
        raise NskError("requires at least 1 arg(s), only received 0", remedy="write nsc://operator/account/user")
    request = ProfileRequest.parse(flags.arguments[0])
    made = profile(_store(session, request), request)
    written = msgspec.json.format(dumps(made), indent=2).decode() + "\n"
    target = flags.text("output-file")
    if target == STDOUT:
        session.output.write(written)
        return GeneratedProfile(json.loads(written), None)
    path = session.write_output(target, written, mode=FILE_MODE if made.has_seeds else PUBLIC_MODE)
    report = Report()
    report.ok(f"wrote tool configuration to `{target}`")
    session.finish(report)
    return GeneratedProfile(json.loads(written), str(path))


def _store(session: Session, request: ProfileRequest) -> Store:
    """The operator's store, where the URL says it is or else in the usual place. Raises NskError."""
    environment, keystore = session.environment, session.keystore
    root = environment.absolute(request.query["store"]) if "store" in request.query else session.store_root
    if "keystore" in request.query:
        keystore = KeyStore(environment.absolute(request.query["keystore"]))
    stores = [Store.open(root, name, keystore) for name in operators_in(root)]
    found = find_operator(stores, request.operator)
    if found is None:
        raise NskError(f'operator "{request.operator}" not in `{root}`')
    session.check_generation(found)
    return found


PROFILE = Command(
    "profile",
    "Generate a profile from nsc 'URL' that can be used by tooling",
    _profile,
    (OUTPUT_FLAG,),
    arguments=(0, 1),
    examples="""\
nsk generate profile nsc://operator
nsk generate profile nsc://operator/account
nsk generate profile nsc://operator/account/user
nsk generate profile nsc://operator/account/user?names&seeds&keys
nsk generate profile nsc://operator/account/user?operatorSeed&accountSeed&userSeed
nsk generate profile nsc://operator/account/user?operatorKey&accountKey&userKey
nsk generate profile nsc://operator/account/user?key&seed&name
nsk generate profile nsc://operator/account/user?store=/a/stores&keystore=/a/keys

It prints what the query asks for of each entity; a name without a prefix means the last one of the path:
  [operator|account|user]Name, names   the name
  [operator|account|user]Key, keys     the public key
  [operator|account|user]Seed, seeds   the seed, or that of a signing key: accountSeed=<public key>
  store=<dir>, keystore=<dir>          where the operator and the seeds are""",
    nsc_examples=PROFILE_EXAMPLES,
    result=GeneratedProfile,
)
