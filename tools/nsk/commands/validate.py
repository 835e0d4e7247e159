"""``validate``: what servers would find wrong with the operator, its accounts and their users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auth import jwt
from auth.claims import AccountClaims, Claims, Issue, IssueLevel, OperatorClaims, UserClaims, UserScope, blocking
from auth.claims.base import error, warning
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.exchange import crossings_of
from auth.gojson import quote
from tools.nsk.cli import Answer, Command
from tools.nsk.download import read_source
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.results import FoundIssue, ValidatedEntity, Validation
from tools.nsk.session import Session
from tools.nsk.store import Store


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found about one operator, or about one account and its users."""

    title: str
    issues: list[Issue]

    @property
    def blocking(self) -> bool:
        """Whether a server would refuse something."""
        return any(issue.level is not IssueLevel.WARNING for issue in self.issues)

    def result(self) -> ValidatedEntity:
        """The findings for programs."""
        return ValidatedEntity(self.title, [FoundIssue(issue.level, issue.description) for issue in self.issues])

    def table(self) -> Table:
        """The findings for people."""
        if not self.issues:
            table = Table(self.title)
            table.row("No issues found")
            return table
        table = Table(self.title, ("#", " ", "Description"))
        for number, issue in enumerate(self.issues, 1):
            mark = " " if issue.level is IssueLevel.WARNING else "!"
            table.row(str(number), mark, printable(issue.description))
        return table


def check_store(store: Store, accounts: list[str]) -> Iterator[Findings]:
    """The findings about the operator and the named accounts. Raises StoreError for a JWT that cannot be read."""
    operator = store.operator()
    issues = operator.validate()
    if not operator.is_self_signed and operator.issuer not in operator.nats.signing_keys:
        issues.append(error("operator is not issued by operator or operator signing key"))
    yield Findings(f"Operator {quote(store.name)}", issues)
    for name in accounts:
        account = store.account(name)
        yield Findings(f"Account {quote(name)}", list(_account_issues(store, operator, account)))


def _account_issues(store: Store, operator: OperatorClaims, account: AccountClaims) -> Iterator[Issue]:
    yield from _own_issues(account)
    if not operator.did_sign(account) and not (store.managed and account.is_self_signed):
        yield error("Account is not issued by operator or operator signing keys")
    if account.subject == operator.nats.system_account and account.nats.limits.is_jetstream_enabled:
        yield error("JetStream should not be enabled for system account")
    for name in store.users(account.name):
        user = store.user(account.name, name)
        for issue in user.validate():
            yield Issue(issue.level, f"user {quote(name)}: {issue.description}")
        yield from _signature_issues(operator, account, user)


def _own_issues(claims: Claims) -> list[Issue]:
    """The findings about claims alone, with what servers would load an account without."""
    issues = claims.validate()
    if isinstance(claims, AccountClaims) and not blocking(issues):
        issues += map(warning, crossings_of(claims.nats, claims.name).findings)
    return issues


def _signature_issues(operator: OperatorClaims, account: AccountClaims, user: UserClaims) -> Iterator[Issue]:
    who = f"user {quote(user.name)}"
    if not account.did_sign(user):
        yield error(f"{who} is not issued by account or account signing keys")
    elif operator.nats.strict_signing_key_usage and user.issuer == account.subject:
        yield error(f"{who} is issued by account key but operator is in strict mode")
    elif isinstance(account.signing_key(user.issuer), UserScope) and not user.nats.is_empty:
        yield error(f"{who}: scoped users require no permissions or limits set")


def _validate(session: Session, flags: Flags) -> Answer | Validation:
    if flags.boolean("all-accounts") and flags.text("account"):
        raise NskError("specify only one of --account or --all-accounts")
    if source := flags.text("file"):
        if flags.boolean("all-accounts") or flags.text("account"):
            raise NskError("specify only one of --account or --all-accounts or --file")
        findings = list(_check_file(session, source))
    else:
        store = session.store
        accounts = store.accounts() if flags.boolean("all-accounts") else []
        if given := flags.text("account"):
            accounts = [session.account_name(given)]
        elif not accounts and session.environment.account:
            accounts = [session.environment.account]
        findings = list(check_store(store, accounts))
    for finding in findings:
        session.output.line(finding.table().render(), Channel.LISTING)
    valid = not any(finding.blocking for finding in findings)
    if not valid and not session.output.structured:
        raise NskError("validation found errors", show_usage=False)
    result = Validation(valid, [finding.result() for finding in findings])
    return result if valid else Answer(result, 1)


def _check_file(session: Session, source: str) -> Iterator[Findings]:
    """One JWT a line, each alone or behind its subject and a bar, or one in armour."""
    try:
        content = read_source(session, source)
    except FileNotFoundError:
        raise NskError(f"open {source}: no such file or directory") from None
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    tokens = [parse_decorated_jwt(content)] if lines and lines[0].startswith("-") else lines
    for number, line in enumerate(tokens, 1):
        try:
            claims: Claims = jwt.decode(line.rpartition("|")[2])
        except JwtError as problem:
            raise NskError(f"`{source}` line {number}: {problem}") from None
        kind = (claims.type_name or "claims").capitalize()
        yield Findings(f"{kind} {quote(claims.name)}", _own_issues(claims))


VALIDATE = Command(
    "validate",
    "Validate an operator, account(s), and users",
    _validate,
    (
        text("account", "a", "account name"),
        boolean("all-accounts", "A", "validate all accounts under the current operator (exclusive of -a and -f)"),
        text("file", "f", "validate all jwt (separated by newline) in the provided file (exclusive of -a and -A)"),
    ),
    usage="(current operator/current account/account users)\n"
    "validate -a <accountName> (current operator/<accountName>/account users)\n"
    "validate -A (current operator/all accounts/all users)\n"
    "validate -f <file>",
    examples="validate",
    usage_on_error=True,
    result=Validation,
)
