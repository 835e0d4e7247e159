"""``generate config|creds|nkey``."""

from __future__ import annotations

from typing import Literal

from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.cli import Command
from tools.nsk.commands.describe import STDOUT
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.remedies import meant, one_of
from tools.nsk.report import Report
from tools.nsk.resolver_config import memory_resolver, nats_resolver
from tools.nsk.results import Generated, GeneratedKey, GeneratedKeys
from tools.nsk.session import Session


def _creds(session: Session, flags: Flags) -> Generated:
    store = session.store
    account, name = flags.text("account"), flags.name()
    if account and not store.has_account(account):
        account = store.account_with_key(account) or account
    elif not account:
        account = session.account_name()
    users = store.users(account)
    if not users and not name:
        raise NskError(f"account {quote(account)} has no users")
    if not name and len(users) > 1:
        raise NskError("user is required", remedy=one_of(users, "--name"))
    name = name or users[0]
    if not store.has_user(account, name):
        raise NskError(f"user {quote(name)} not found in {quote(account)}", remedy=meant(name, users))
    if not session.keystore.has_key(store.user(account, name).subject):
        raise NskError("user was not found - please specify it")
    creds = store.creds(account, name)
    target = flags.text("output-file")
    if target == STDOUT:
        session.output.line(creds)
        return Generated(creds, None)
    path = session.write_output(target, creds)
    _wrote(session, "credentials", f"`{target}`")
    return Generated(None, str(path))


def _wrote(session: Session, what: str, target: str) -> None:
    report = Report()
    report.ok(f"wrote {what} to {target}")
    session.finish(report)
    session.output.message(f"Success!! - generated {target}")


_OUTPUT = text("output-file", "o", "output file '--' is stdout", default=STDOUT)
CREDS = Command(
    "creds",
    "Generate a credentials file for an user",
    _creds,
    (text("name", "n", "user name"), text("account", "a", "account name"), _OUTPUT),
    result=Generated,
    examples="nsk generate creds --account a --name u",
)

_KINDS: tuple[tuple[Literal["operator", "account", "user", "curve"], KeyKind], ...] = (
    ("operator", KeyKind.OPERATOR),
    ("account", KeyKind.ACCOUNT),
    ("user", KeyKind.USER),
    ("curve", KeyKind.CURVE),
)


def _nkey(session: Session, flags: Flags) -> GeneratedKeys:
    kinds = [(name, kind) for name, kind in _KINDS if flags.boolean(name)]
    if not kinds:
        raise NskError("set --operator, --account, --user, or --curve", show_usage=True)
    made: list[GeneratedKey] = []
    for name, kind in kinds:
        pair = KeyPair.generate(kind)
        if flags.boolean("store"):
            path = session.keystore.store_key(pair)
            session.output.line(f"{pair.public}\n{name} key stored {path}\n")
            made.append(GeneratedKey(name, pair.public, None, str(path)))
        else:
            session.output.line(f"{pair.seed}\n{pair.public}\n")
            made.append(GeneratedKey(name, pair.public, pair.seed, None))
    return GeneratedKeys(made)


NKEY = Command(
    "nkey",
    "Generates an nkey",
    _nkey,
    (
        boolean("operator", "o", "operator"),
        boolean("account", "a", "account"),
        boolean("user", "u", "user"),
        boolean("curve", "x", "curve"),
        boolean("store", "S", "store in the keystore"),
    ),
    usage_on_error=True,
    changes=True,
    result=GeneratedKeys,
)


_RESOLVERS = ("mem-resolver", "nats-resolver", "nats-resolver-cache")


def _config(session: Session, flags: Flags) -> Generated:
    store = session.store
    kinds = [name for name in _RESOLVERS if flags.boolean(name)]
    if not kinds:
        raise NskError("specify a config type option", show_usage=True)
    if len(kinds) > 1:
        raise NskError("can only generate one config at a time")
    system = flags.text("sys-account")
    if system:
        try:
            system = store.account(session.account_name(system)).name
        except StoreError as error:
            known = f"account {system} does not exist in the current operator"
            raise NskError(f"error reading account {quote(system)}: {known}", remedy=error.remedy) from None
    if flags.boolean("mem-resolver"):
        config = memory_resolver(store, system_account=system)
    else:
        cache = flags.boolean("nats-resolver-cache")
        output = session.output
        config = nats_resolver(
            store, system_account=system, cache=cache, program=output.program, deletes=not output.compatible
        )
    target = flags.text("config-file")
    if target == STDOUT:
        session.output.line(config)
        return Generated(config, None)
    path = session.environment.absolute(target)
    if path.exists() and not flags.boolean("force"):
        raise NskError(f"`{path}` already exists")
    session.write_output(target, config)
    _wrote(session, "server configuration", session.display(path))
    return Generated(None, str(path))


CONFIG = Command(
    "config",
    "Generate an account config file for an operator",
    _config,
    (
        boolean("mem-resolver", "", "generates a mem resolver server configuration"),
        boolean("nats-resolver", "", "generates a full nats resolver server configuration"),
        boolean("nats-resolver-cache", "", "generates a cached nats resolver server configuration"),
        text(
            "config-file", "", "output configuration file '--' is standard output (exclusive of --dir)", default=STDOUT
        ),
        boolean("force", "F", "overwrite output files if they exist"),
        text("sys-account", "", "system account name"),
    ),
    examples="""\
nsk generate config --mem-resolver
nsk generate config --mem-resolver --config-file <outfile>
nsk generate config --mem-resolver --config-file <outfile> --force
nsk generate config --nats-resolver
nsk generate config --nats-resolver-cache
""",
    result=Generated,
)
