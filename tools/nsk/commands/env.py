"""``env``: where things are kept and what is current; also changes it."""

from __future__ import annotations

from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.output import Channel
from tools.nsk.render import Table
from tools.nsk.results import EnvironmentResult
from tools.nsk.session import Session
from tools.nsk.store import Store


def _env(session: Session, flags: Flags) -> EnvironmentResult:
    environment = session.environment
    if root := flags.text("store"):
        environment.remember(store_root=environment.absolute(root))
    if operator := flags.text("operator"):
        choose_operator(session, operator)
    if account := flags.text("account"):
        choose_account(session, session.store, account)
    session.output.line(_table(session).render(), Channel.LISTING)
    return EnvironmentResult(
        str(environment.store_root) if environment.store_root else None,
        str(environment.keystore_directory),
        str(environment.config_directory),
        environment.operator or None,
        environment.account or None,
        environment.from_cwd,
    )


def choose_operator(session: Session, operator: str) -> None:
    """Make an operator the current one. An account of the same name stays current. Raises NskError."""
    if not Store.exists(session.store_root, operator):
        raise NskError(f'operator "{operator}" not in `{session.store_root}`')
    session.environment.enter(operator)


def choose_account(session: Session, store: Store, account: str) -> None:
    """Make an account of the current operator the current one. Raises StoreError."""
    if not store.has_account(account):
        raise store.unknown_account(account)
    session.environment.remember(account=account)


def _table(session: Session) -> Table:
    environment = session.environment
    variables = environment.variables
    table = Table("NSC Environment", ("Setting", "Set", "Effective Value"))

    def setting(label: str, variable: str, value: str) -> None:
        table.row(label, "Yes" if variable in variables else "No", value)

    def file(variable: str, what: str) -> None:
        default = f"If set, {what} in the referenced file will be used for nats connections"
        setting(f"${variable}", variable, variables.get(variable) or default)

    home = environment.abbreviated
    for variable, default in (("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share")):
        setting(f"${variable}", variable, variables.get(variable) or str(environment.home / default))
    setting("$NSC_CWD_ONLY", "NSC_CWD_ONLY", "If set, default operator/account from cwd only")
    setting("$NSC_NO_GIT_IGNORE", "NSC_NO_GIT_IGNORE", "If set, no .gitignore files written")
    setting("$NKEYS_PATH (deprecated)", "NKEYS_PATH", home(environment.keystore_directory))
    setting("$NSC_HOME (deprecated)", "NSC_HOME", home(environment.config_directory))
    file("NATS_CA", "root CAs")
    table.row("", "", "If not set, will default to the system trust store")
    file("NATS_KEY", "the tls key")
    file("NATS_CERT", "the tls cert")
    table.rule()
    root = environment.store_root
    for label, value in (
        ("From CWD", "Yes" if environment.from_cwd else "No"),
        ("Default Stores Dir", home(environment.default_store_root)),
        ("Current Store Dir", home(root) if root else "Not Set"),
        ("Current Operator", environment.operator),
        ("Current Account", environment.account),
        ("Root CAs to trust", variables.get("NATS_CA") or "Default: System Trust Store"),
    ):
        table.row(label, "", value)
    return table


ENV = Command(
    "env",
    "Prints and manage the nsc environment",
    _env,
    (
        text("store", "s", "set store directory"),
        text("operator", "o", "set operator name"),
        text("account", "a", "set account name"),
    ),
    examples="env",
    usage_on_error=True,
    result=EnvironmentResult,
)
