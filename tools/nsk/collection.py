"""What lies in directories: seeds, and the JWTs of operators, their accounts and their users, wherever they are.

Of several JWTs of one entity the one that was issued last counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from auth import jwt
from auth.claims import AccountClaims, Claims, OperatorClaims, UserClaims
from auth.creds import CredsError, parse_decorated_jwt, parse_decorated_seed
from auth.envelope import JwtError
from auth.nkey import KeyPair, NKeyError, public_key_kind
from tools.nsk.keystore import CREDS_SUFFIX, SEED_SUFFIX
from tools.nsk.report import Report
from tools.nsk.store import JWT_SUFFIX

ClaimsT = TypeVar("ClaimsT", bound=Claims)
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def files_below(path: Path, suffix: str, *, recurse: bool = True) -> Iterator[Path]:
    """The files with a suffix, in the order of their names: the path itself, or what is below it.

    Links to directories are not followed.
    """
    if path.is_file():
        if path.suffix == suffix:
            yield path
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.is_file() or (recurse and not entry.is_symlink()):
                yield from files_below(entry, suffix, recurse=recurse)


def seed_problem(text: str) -> str:
    """Why a text is no seed, in words that do not repeat it; nothing when it is one."""
    if public_key_kind(text) is not None:
        return "nkeys: no seed or private key available"
    for position, character in enumerate(text):
        if character not in _BASE32:
            return f"illegal base32 data at input byte {position}"
    try:
        KeyPair.from_seed(text)
    except NKeyError as error:
        return str(error) if text else "nkeys: invalid encoded key"
    return ""


@dataclass(slots=True)
class Found(Generic[ClaimsT]):
    """An entity, by the newest of its JWTs."""

    claims: ClaimsT
    token: str


@dataclass(slots=True)
class FoundAccount(Found[AccountClaims]):
    """An account and its users, by their public keys."""

    users: dict[str, Found[UserClaims]] = field(default_factory=dict)


@dataclass(slots=True)
class FoundOperator(Found[OperatorClaims]):
    """An operator and its accounts, by their public keys."""

    accounts: dict[str, FoundAccount] = field(default_factory=dict)


class Collection:
    """Everything of use that was found."""

    def __init__(self) -> None:
        self.seeds: dict[str, KeyPair] = {}
        self.operators: dict[str, FoundOperator] = {}
        self._principals: dict[str, str] = {}
        """The operator for each of the keys that sign its accounts."""

    @classmethod
    def of(cls, paths: Iterable[Path], report: Report, *, creds: bool) -> Collection:
        """What files and directories hold; ``creds`` tells whether creds files are looked at too.

        The report tells what was found where. What is no seed is an error in it, what is no JWT a warning.
        """
        found, places = cls(), list(paths)
        found._find_seeds(places, report.section("Find NKeys"))
        for kind, title in ((OperatorClaims, "Operators"), (AccountClaims, "Accounts"), (UserClaims, "Users")):
            section = report.section(f"Find {title}")
            for path in _files(places, JWT_SUFFIX):
                found._find(path, kind, section)
        if creds:
            section = report.section("Find Creds")
            for path in _files(places, CREDS_SUFFIX):
                found._find(path, UserClaims, section)
                found._find_seed(path, section)
        return found

    def _find_seeds(self, places: list[Path], report: Report) -> None:
        for path in _files(places, SEED_SUFFIX):
            self._find_seed(path, report)

    def _find_seed(self, path: Path, report: Report) -> None:
        try:
            text = path.read_text("utf-8").strip()
            pair = KeyPair.from_seed(text if not seed_problem(text) else parse_decorated_seed(text))
        except (CredsError, NKeyError, UnicodeDecodeError) as error:
            reason = str(error).removeprefix("nkeys: ")
            report.error(f"error parsing nkey `{path}`: {reason}")
            return
        self.seeds[pair.public] = pair

    def _find(self, path: Path, kind: type[Claims], report: Report) -> None:
        try:
            token = parse_decorated_jwt(path.read_text("utf-8"))
            claims = jwt.decode(token)
        except (JwtError, UnicodeDecodeError) as error:
            report.warn(f"error loading {path}: {error}")
            return
        if not isinstance(claims, kind):
            return
        section = report.section(f"{claims.type_name} {claims.subject}")
        if isinstance(claims, OperatorClaims):
            self._take_operator(claims, token, path, section)
        elif isinstance(claims, AccountClaims):
            self._take_account(claims, token, path, section)
        elif isinstance(claims, UserClaims):
            self._take_user(claims, token, path, section)

    def _take_operator(self, claims: OperatorClaims, token: str, path: Path, report: Report) -> None:
        known = self.operators.get(claims.subject)
        if _is_newest(known, claims, path, report):
            accounts = known.accounts if known else {}
            self.operators[claims.subject] = FoundOperator(claims, token, accounts)
            self._principals.update(dict.fromkeys((claims.subject, *claims.nats.signing_keys), claims.subject))

    def _take_account(self, claims: AccountClaims, token: str, path: Path, report: Report) -> None:
        operator = self.operators.get(self._principals.get(claims.issuer, ""))
        if operator is None:
            report.warn(f"operator {claims.issuer} was not found - ignoring account {path}")
            return
        known = operator.accounts.get(claims.subject)
        if _is_newest(known, claims, path, report):
            operator.accounts[claims.subject] = FoundAccount(claims, token)

    def _take_user(self, claims: UserClaims, token: str, path: Path, report: Report) -> None:
        owner = claims.issuer_account or claims.issuer
        accounts = [found.accounts[owner] for found in self.operators.values() if owner in found.accounts]
        if not accounts:
            report.warn(f"account {owner} was not found - ignoring user {path}")
        for account in accounts:
            if _is_newest(account.users.get(claims.subject), claims, path, report):
                account.users[claims.subject] = Found(claims, token)


def _files(places: Iterable[Path], suffix: str) -> Iterator[Path]:
    return (path for place in places for path in files_below(place, suffix))


def _is_newest(known: Found[ClaimsT] | None, claims: Claims, path: Path, report: Report) -> bool:
    if known is None:
        report.ok(f"loaded from {path}")
    elif claims.issued_at > known.claims.issued_at:
        report.ok(f"updated from {path}")
    else:
        report.ok(f"ignoring older config {path}")
        return False
    return True
