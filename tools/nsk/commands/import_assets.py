"""``import keys``, ``import account`` and ``import user``: what others made, or what was exported, into the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from auth.claims import AccountClaims, Claims, IssueLevel, UserClaims, blocking
from auth.creds import CredsError, parse_decorated_jwt, parse_decorated_seed
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.cli import Command
from tools.nsk.collection import Found, files_below, seed_problem
from tools.nsk.errors import NskError, StoreError, without_usage
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.keystore import SEED_SUFFIX
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name

_NAME_COLLISION = (
    "existing {kind} has a name collision only and does not reference the same entity "
    "(Subject is {old} and differs from {new}). This problem needs to be resolved manually."
)


@dataclass(frozen=True, slots=True)
class ImportedKeys:
    """What ``import keys`` took."""

    keys: Annotated[list[str], "the public keys whose seeds are in the keystore now"]


def _keys(session: Session, flags: Flags) -> ImportedKeys:
    if not flags.text("dir"):
        raise NskError('required flag(s) "dir" not set')
    directory = session.environment.absolute(flags.text("dir"))
    if not directory.exists():
        raise NskError(f"stat {directory}: no such file or directory")
    if not directory.is_dir():
        raise NskError(f"`{directory}` is not a directory")
    report, taken = Report(), []
    with without_usage():
        paths = list(files_below(directory, SEED_SUFFIX, recurse=flags.boolean("recurse")))
        if not paths:
            raise NskError("no nkey (.nk) files found")
        for path in paths:
            try:
                taken.append(_import_key(session, path))
            except StoreError as error:
                report.error(f"failed to import `{path}`: {error.text}")
            else:
                report.ok(f"{taken[-1]} was added to the keystore")
        session.finish(report, summarise=True, keep=True)
    return ImportedKeys(taken)


def _import_key(session: Session, path: Path) -> str:
    try:
        seed = path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise StoreError("the file is not a text") from None
    if problem := seed_problem(seed):
        raise StoreError(problem)
    pair = KeyPair.from_seed(seed)
    session.keystore.store_key(pair)
    return pair.public


KEYS = Command(
    "keys",
    "Imports all nkeys found in a directory",
    _keys,
    (text("dir", "d", "directory to import keys from"), boolean("recurse", "R", "recurse directories")),
    examples="nsk import keys --dir <path>\nnsk import keys --recurse --dir <path>\n",
    usage_on_error=True,
    changes=True,
    result=ImportedKeys,
)


# Accounts and users.


def _read(session: Session, given: str, suffixes: tuple[str, ...]) -> str:
    """The text of the file that a flag names. Raises NskError or OSError."""
    path = session.environment.absolute(given)
    try:
        content = path.read_text("utf-8")
    except IsADirectoryError:
        raise NskError(f"read {path}: is a directory") from None
    except FileNotFoundError:
        raise NskError(f"open {path}: no such file or directory") from None
    except UnicodeDecodeError:
        raise NskError(f"`{path}` does not hold a JWT") from None
    if path.suffix not in suffixes:
        raise NskError(f"expected these file endings: [{' '.join(suffixes)}]")
    return content


def _is_valid(claims: Claims, report: Report, *, skip: bool) -> bool:
    """Report what a validation finds. False when servers would refuse the claims, unless that is to be skipped."""
    issues = claims.validate()
    for issue in issues:
        say = report.error if issue.level is IssueLevel.ERROR and not skip else report.warn
        say(f"validation resulted in: {issue.description}")
    if skip or not blocking(issues, include_times=True):
        return True
    report.error("validation is blocking, skip with --skip")
    return False


def _may_replace(old: Claims | None, new: Claims, kind: str, report: Report, *, overwrite: bool) -> bool:
    if old is None:
        return True
    if not overwrite:
        report.error(f"{kind.lower()} already exists, overwrite with --overwrite")
    elif old.subject != new.subject:
        report.error(_NAME_COLLISION.format(kind=kind, old=old.subject, new=new.subject))
    return not report.failed


@dataclass(frozen=True, slots=True)
class ImportedAccount:
    """What ``import account`` took."""

    name: Annotated[str, "the account's name"]
    public_key: Annotated[str, "the account's public key"]
    issuer: Annotated[str, "the key that signed what is stored now"]


def _account(session: Session, flags: Flags) -> ImportedAccount:
    given = flags.text("file")
    token = parse_decorated_jwt(_read(session, given, (".jwt",)))
    store = session.store
    signer = None
    if not store.managed:
        signer = session.signer(KeyKind.OPERATOR) or store.operator_signer()
        if signer.public not in store.operator_signers():
            raise NskError("invalid account signer")
    report = Report()
    try:
        claims = AccountClaims.from_token(token)
    except JwtError as error:
        report.error(f"failed to decode `{given}`: {error}")
    else:
        check_name(claims.name, "account")
        if _is_valid(claims, report, skip=flags.boolean("skip")):
            _store_account(store, Found(claims, token), signer, flags, report)
    session.finish(report, summarise=True)
    return ImportedAccount(claims.name, claims.subject, claims.issuer)


def _store_account(
    store: Store, found: Found[AccountClaims], signer: KeyPair | None, flags: Flags, report: Report
) -> None:
    claims = found.claims
    old = store.account(claims.name) if store.has_account(claims.name) else None
    if not _may_replace(old, claims, "Account", report, overwrite=flags.boolean("overwrite")):
        return
    if (other := store.account_with_key(claims.subject)) not in (None, claims.name):
        report.error(f"account {quote(str(other))} has the key {claims.subject} already")
        return
    own = claims.issuer in store.operator_signers()
    if signer is None and claims.is_self_signed:
        report.error("only a non managed store can import a self signed account")
    elif signer is not None and (claims.is_self_signed or (not own and flags.boolean("force"))):
        store.sign_account(claims, signer)
    elif own:
        store.write_account(claims.name, found.token)
    else:
        report.error("can only import account signed by same operator. Possibly update your operator")
    if not report.failed and submit(store, claims, report):
        report.ok(f"account {claims.name} was successfully imported")


ACCOUNT = Command(
    "account",
    "Imports an account from a jwt file and resign with operator if self signed",
    _account,
    (
        text("file", "j", "account jwt to import"),
        boolean("overwrite", "", "overwrite existing account"),
        boolean("force", "", "import account signed by different operator"),
        boolean("skip", "", "skip validation issues, they can be edited out prior to push"),
    ),
    usage="--file <account-jwt>",
    examples="nsk import account --file <account-jwt>",
    usage_on_error=True,
    changes=True,
    result=ImportedAccount,
)


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """What ``import user`` took."""

    account: Annotated[str, "the name of the account that the user belongs to"]
    name: Annotated[str, "the user's name"]
    public_key: Annotated[str, "the user's public key"]
    with_key: Annotated[bool, "whether the file held the user's seed too"]


def _user(session: Session, flags: Flags) -> ImportedUser:
    given = flags.text("file")
    content = _read(session, given, (".jwt", ".creds"))
    token = parse_decorated_jwt(content)
    store = session.store
    report = Report()
    pair = None
    if not content.strip().startswith("ey"):
        try:
            pair = KeyPair.from_seed(parse_decorated_seed(content))
        except CredsError as error:
            reason = str(error).removeprefix("nkeys: ")
            report.warn(f"failed to parse decorated key in `{given}`: {reason}")
    account = ""
    try:
        claims = UserClaims.from_token(token)
    except JwtError as error:
        report.error(f"failed to decode `{given}`: {error}")
    else:
        check_name(claims.name, "user")
        if _is_valid(claims, report, skip=flags.boolean("skip")):
            account = _store_user(store, Found(claims, token), pair, flags, report)
    session.finish(report, summarise=True)
    return ImportedUser(account, claims.name, claims.subject, pair is not None)


def _store_user(store: Store, found: Found[UserClaims], pair: KeyPair | None, flags: Flags, report: Report) -> str:
    claims = found.claims
    account = store.account_with_key(claims.issuer_account)
    if account is None:
        report.error(f"referenced Account {claims.issuer_account} not found, import first")
        return ""
    old = store.user(account, claims.name) if store.has_user(account, claims.name) else None
    if not _may_replace(old, claims, "User", report, overwrite=flags.boolean("overwrite")):
        return account
    if claims.issuer not in store.account_signers(store.account(account)):
        report.error("can only import user signed by exiting account. Possibly update your account")
        return account
    if pair is not None:
        if pair.public != claims.subject:
            report.error(f"the seed is that of {pair.public}, the JWT is about {claims.subject}")
            return account
        report.ok(f"key stored {store.keystore.store_key(pair)}")
    store.write_user(account, claims.name, found.token)
    report.ok(f"user {claims.name} was successfully imported")
    return account


USER = Command(
    "user",
    "Imports an user from a jwt or user and nkey from a creds file",
    _user,
    (
        text("file", "f", "user jwt or creds to import"),
        boolean("overwrite", "", "overwrite existing user"),
        boolean("skip", "", "skip validation issues"),
    ),
    usage="--file <user-jwt/user-creds>",
    examples="nsk import user --file <account-jwt>",
    usage_on_error=True,
    changes=True,
    result=ImportedUser,
)
