"""What the commands of the everyday nouns return, and ``--json`` prints.

``tools.nsk.document`` reads the schemas off these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from auth.claims import AccountClaims, IssueLevel, OperatorClaims, UserClaims

if TYPE_CHECKING:
    from tools.nsk.store import Store

Account = Annotated[str, "the account's name"]
Public = Annotated[str, "the public key"]
Creds = Annotated[str | None, "the creds file that was written, else null"]


@dataclass(frozen=True, slots=True)
class OperatorResult:
    """An operator that was added or edited."""

    name: Annotated[str, "the operator's name"]
    public_key: Public
    signing_keys: Annotated[list[str], "the public keys of its signing keys"]
    system_account: Annotated[str | None, "the public key of the system account, else null"]


@dataclass(frozen=True, slots=True)
class AccountResult:
    """An account that was added or edited."""

    operator: Annotated[str, "the operator's name"]
    name: Account
    public_key: Public
    issuer: Annotated[str, "the public key that signed the account"]
    signing_keys: Annotated[list[str], "the public keys of its signing keys"]


@dataclass(frozen=True, slots=True)
class UserResult:
    """A user that was added or edited."""

    account: Account
    name: Annotated[str, "the user's name"]
    public_key: Public
    issuer: Annotated[str, "the public key that signed the user"]
    creds_file: Creds


@dataclass(frozen=True, slots=True)
class DeletedUser:
    """A user that was deleted."""

    name: Annotated[str, "the user's name"]
    public_key: Public


@dataclass(frozen=True, slots=True)
class DeletedUsers:
    """Users of an account that were deleted."""

    account: Account
    users: Annotated[list[DeletedUser], "the users that are gone"]
    revoked: Annotated[bool, "whether their credentials were revoked"]


@dataclass(frozen=True, slots=True)
class DeletedAccount:
    """An account that was deleted, with its users."""

    account: Account
    public_key: Public
    users: Annotated[list[DeletedUser], "the users that are gone with it"]
    revoked: Annotated[bool, "whether their credentials were revoked"]


@dataclass(frozen=True, slots=True)
class SigningKeyResult:
    """A signing key of an account that got a role, or another template."""

    account: Account
    public_key: Public
    role: Annotated[str, "the role's name"]
    description: Annotated[str, "what the role is for"]


@dataclass(frozen=True, slots=True)
class Generated:
    """A text that was generated, or the file that it was written to."""

    text: Annotated[str | None, "the text, null when it was written to a file"]
    file: Annotated[str | None, "the file, null when the text is given here"]


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A key pair that was generated."""

    kind: Annotated[Literal["operator", "account", "user", "curve"], "what the key is for"]
    public_key: Public
    seed: Annotated[str | None, "the seed, null when it was stored"]
    file: Annotated[str | None, "where the seed was stored, else null"]


@dataclass(frozen=True, slots=True)
class GeneratedKeys:
    """Key pairs that were generated."""

    keys: Annotated[list[GeneratedKey], "in the order of the flags"]


@dataclass(frozen=True, slots=True)
class Initialised:
    """An operator with everything to begin with."""

    store: Annotated[str, "the directory of the stores"]
    operator: OperatorResult
    system_user: UserResult
    account: AccountResult
    user: UserResult


@dataclass(frozen=True, slots=True)
class EnvironmentResult:
    """Where things are kept, and what is current."""

    store: Annotated[str | None, "the directory of the stores, null when there is none"]
    keystore: Annotated[str, "the directory of seeds and creds files"]
    configuration: Annotated[str, "the directory of nsc.json"]
    operator: Annotated[str | None, "the current operator, else null"]
    account: Annotated[str | None, "the current account, else null"]
    from_working_directory: Annotated[bool, "whether the working directory decided"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """Credentials of a user, or of all (``*``), that an account no longer takes."""

    public_key: Annotated[str, "the user's public key, or * for all users"]
    before: Annotated[int, "credentials issued up to this Unix time are refused"]


@dataclass(frozen=True, slots=True)
class Revocations:
    """The revocations of an account, after what the command did."""

    account: Account
    revocations: Annotated[list[Revocation], "all there are, sorted by key"]


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """Something that is wrong, or worth a look."""

    level: Annotated[IssueLevel, "a server refuses all but warnings"]
    description: Annotated[str, "what it is"]


@dataclass(frozen=True, slots=True)
class ValidatedEntity:
    """What was found about one operator, account or JWT."""

    title: Annotated[str, "what it is, with its name"]
    issues: Annotated[list[FoundIssue], "none when all is well"]


@dataclass(frozen=True, slots=True)
class Validation:
    """What servers would find wrong."""

    valid: Annotated[bool, "whether a server would take everything"]
    entities: Annotated[list[ValidatedEntity], "each that was looked at"]


@dataclass(frozen=True, slots=True)
class Published:
    """Messages that were published."""

    subject: Annotated[str, "where to"]
    count: Annotated[int, "how many"]
    seconds: Annotated[float, "how long it took, until the server had them all"]


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that was received."""

    subject: Annotated[str, "the subject on which it came"]
    reply: Annotated[str, "where an answer goes, empty when none is expected"]
    text: Annotated[str, "the payload, with backslash escapes for what is no UTF-8"]


@dataclass(frozen=True, slots=True)
class Received:
    """Messages that were received, until the command ended."""

    messages: Annotated[list[ReceivedMessage], "in the order in which they came"]


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The way to the server and back."""

    url: Annotated[str, "the server"]
    microseconds: Annotated[int, "how long it took"]


def operator_result(claims: OperatorClaims) -> OperatorResult:
    """The result for an operator's claims."""
    keys = list(claims.nats.signing_keys)
    return OperatorResult(claims.name, claims.subject, keys, claims.nats.system_account or None)


def account_result(store: Store, claims: AccountClaims) -> AccountResult:
    """The result for an account's claims."""
    keys = claims.signing_key_names()
    return AccountResult(store.name, claims.name, claims.subject, claims.issuer, keys)


def user_result(store: Store, account: str, claims: UserClaims) -> UserResult:
    """The result for a user's claims, with the creds file when there is one."""
    path = store.creds_path(account, claims.name)
    creds = str(path) if store.files.is_file(path) else None
    return UserResult(account, claims.name, claims.subject, claims.issuer, creds)


def revocations_result(claims: AccountClaims) -> Revocations:
    """The result for an account's revocations."""
    found = [Revocation(key, moment) for key, moment in sorted(claims.nats.revocations.items())]
    return Revocations(claims.name, found)
