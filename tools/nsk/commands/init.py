"""``init``: an operator with its system account, an account and a user, in one step."""

from __future__ import annotations

from tools.nsk.cli import Command
from tools.nsk.errors import NskError, without_usage
from tools.nsk.flags import Flags, text
from tools.nsk.names import given_or_random
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.report import Report
from tools.nsk.results import Initialised, account_result, operator_result, user_result
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name

_SERVICE_URL = "nats://localhost:4222"


def _init(session: Session, flags: Flags) -> Initialised:
    with without_usage():
        return _initialise(session, flags)


def _initialise(session: Session, flags: Flags) -> Initialised:
    name = check_name(given_or_random(flags.name()), "operator, account and user")
    environment = session.environment
    # As in nsc, the stores lie in their usual place unless --dir or --data-dir names another.
    given = flags.text("dir") or session.directories.data
    root = environment.absolute(given) if given else environment.default_store_root
    if Store.exists(root, name):
        advice = "specify a different directory with --dir"
        raise NskError(f"an operator named `{name}` already exists in `{root}` - {advice}")
    report = Report()
    store = create_operator(root, name, session.keystore, service_urls=(_SERVICE_URL,))
    report.ok(f"created operator {name}")
    system = add_system_account(store)
    report.ok(f"created system_account: name:{system.account.name} id:{system.account.subject}")
    report.ok(f"created system account user: name:{system.user.name} id:{system.user.subject}")
    report.ok(f"system account user creds file stored in {session.display(system.creds)}")
    account = create_account(store, name)
    report.ok(f"created account {name}")
    user = create_user(store, name, name)
    creds = store.write_creds(name, name)
    report.ok(f'created user "{name}"')
    report.ok(f"project jwt files created in {session.display(root)}")
    report.ok(f"user creds file stored in {session.display(creds)}")
    environment.remember(store_root=root, operator=name, account=name)
    program = session.output.program
    server = "nats-server" if session.output.compatible else "natskeep"
    report.message(
        "to run a local server using this configuration, enter:\n"
        f"  {program} generate config --mem-resolver --config-file <path/server.conf>\n"
        f"then start a {server} using the generated config:\n"
        f"  {server} -c <path/server.conf>"
    )
    session.finish(report, summarise=True)
    return Initialised(
        str(root),
        operator_result(store.operator()),
        user_result(store, system.account.name, system.user),
        account_result(store, account),
        user_result(store, name, user),
    )


INIT = Command(
    "init",
    "Initialize an environment by creating an operator, account and user",
    _init,
    (
        text("name", "n", "name used for the operator, account and user"),
        text("dir", "d", "directory where the operator directory will be created"),
    ),
    arguments=(0, 1),
    asks_without_flags=True,
    one_table=True,
    usage_on_error=True,
    changes=True,
    result=Initialised,
)
