"""What an account offers to others, takes from them and maps, changed in its claims and signed.

Every function reads the account from the store, changes it, and stores it signed, or raises NskError and leaves all as
it was. What servers would refuse is not signed, nor what they would pass over: an export, import or mapping without
which they load the account.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accounts import subject as subjects
from auth import jwt
from auth.claims import AccountClaims, ActivationClaims, Export, Import, UserScope, WeightedMapping, blocking
from auth.claims.exchange import revoke
from auth.envelope import JwtError
from auth.exchange import PASSED_OVER, crossings_of
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.store import Store
from tools.nsk.subjects import refuse_unless_subject, shell_hint

SERVICE, STREAM = "service", "stream"
EVERY_ACCOUNT = "*"
"""In place of an account's key, in revocations: all of them."""


def kind_of(*, service: bool) -> str:
    """The type of an export or import, as claims write it."""
    return SERVICE if service else STREAM


def refusals(claims: AccountClaims) -> list[str]:
    """Why servers would refuse an account's JWT."""
    return [issue.description for issue in blocking(claims.validate())]


def omissions(claims: AccountClaims) -> list[str]:
    """The exports, imports and mappings that servers would pass over, with the reasons."""
    return [finding for finding in crossings_of(claims.nats, claims.name).findings if PASSED_OVER in finding]


class Change:
    """An account on its way from the store and back."""

    def __init__(self, store: Store, account: str) -> None:
        """Raises StoreError."""
        self.claims = store.account(account)
        self._store = store
        self._before = {*refusals(self.claims), *omissions(self.claims)}

    def new_faults(self) -> list[str]:
        """What servers would refuse now and did not before, or else what they would pass over now."""
        for find in (refusals, omissions):
            if found := [fault for fault in find(self.claims) if fault not in self._before]:
                return found
        return []

    def sign(self, signer: KeyPair | None, *, keep_issuer: bool = False) -> AccountClaims:
        """Store the account, signed. Raises StoreError for a fault that it did not have before.

        Without a signer the operator key that signed before does when ``keep_issuer``, else the first that is stored.
        """
        for fault in self.new_faults():
            raise StoreError(fault)
        self._store.sign_account(self.claims, signer, keep_issuer=keep_issuer)
        return self.claims


# Exports.


def exports_of(claims: AccountClaims) -> list[Export]:
    """The exports of an account. Raises StoreError when it has none."""
    exports = [export for export in claims.nats.exports if export is not None]
    if not exports:
        raise StoreError(f"account {quote(claims.name)} doesn't have exports")
    return exports


def add_export(store: Store, account: str, export: Export, *, signer: KeyPair | None = None) -> AccountClaims:
    """Offer something to other accounts. Raises StoreError."""
    if export.token_required and export.account_token_position:
        raise StoreError("account token position is only valid for public exports")
    change = Change(store, account)
    refuse_unless_subject(export.subject)
    change.claims.nats.exports.append(export)
    return change.sign(signer)


def delete_export(store: Store, account: str, subject: str, *, signer: KeyPair | None = None) -> Export:
    """Offer something no longer; an empty subject stands for the only export. Raises StoreError."""
    change = Change(store, account)
    exports = exports_of(change.claims)
    if not subject and len(exports) > 1:
        raise StoreError("subject is required")
    for export in exports:
        if not subject or export.subject == subject:
            change.claims.nats.exports.remove(export)
            change.sign(signer)
            return export
    raise StoreError(f"no export matching {quote(subject)} found")


# Activations.


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation and the export that it is for."""

    token: str
    claims: ActivationClaims
    export: Export


def private_exports(claims: AccountClaims) -> list[Export]:
    """The exports that others need an activation for. Raises StoreError when there is none."""
    private = [export for export in exports_of(claims) if export.token_required]
    if not private:
        raise StoreError(f"account {quote(claims.name)} doesn't have exports that require an activation token")
    return private


def activate(
    store: Store,
    account: str,
    subject: str,
    target: str,
    *,
    not_before: int = 0,
    expires_at: int = 0,
    signer: KeyPair | None = None,
) -> Activated:
    """Let the account with a public key import a private export, or the part of it that a subject names.

    Without a signer a stored key of the account signs. Raises StoreError, also for a key whose activation servers
    would not take.
    """
    owner = store.account(account)
    private = private_exports(owner)
    refuse_unless_subject(subject)
    export = next((export for export in private if subjects.contains(export.subject, subject)), None)
    if export is None:
        raise StoreError(f"a private export for {quote(subject)} was not found in account {quote(account)}")
    signer = signer or store.first_stored(_activation_signers(store, owner))
    if signer.public != owner.subject and signer.public not in owner.nats.signing_keys:
        scoped = isinstance(owner.signing_key(signer.public), UserScope)
        why = "is scoped and signs users only" if scoped else f"does not sign for account {quote(account)}"
        raise StoreError(f"key {signer.public} {why}: servers would refuse the activation")
    claims = ActivationClaims.new(target)
    claims.name, claims.not_before, claims.expires_at = subject, not_before, expires_at
    claims.nats.import_subject, claims.nats.kind = subject, export.type
    claims.nats.issuer_account = "" if signer.public == owner.subject else owner.subject
    try:
        return Activated(jwt.encode(claims, signer), claims, export)
    except JwtError as error:
        raise StoreError(str(error)) from None


def _activation_signers(store: Store, owner: AccountClaims) -> list[str]:
    plain = [key for key in owner.nats.signing_keys if isinstance(key, str)]
    if not store.operator().nats.strict_signing_key_usage:
        return [owner.subject, *plain]
    if not plain:
        raise StoreError(
            f"the operator requires signing keys and account {quote(owner.name)} has none without a role: "
            f"add one with `edit account {owner.name} --sk generate`"
        )
    return plain


@dataclass(frozen=True, slots=True)
class ExportPlace:
    """An export: the name of its account, its type, and a subject of it; none stands for the only one of the type."""

    account: str
    kind: str
    subject: str = ""

    def export(self, claims: AccountClaims) -> Export:
        """That export. Raises StoreError when there is none, or when several could be meant."""
        exports = [export for export in exports_of(claims) if export.type == self.kind]
        if not exports:
            raise StoreError(f"account {quote(claims.name)} doesn't have {self.kind} exports")
        if not self.subject and len(exports) > 1:
            raise StoreError("a subject is required", show_usage=True)
        for export in exports:
            if not self.subject or subjects.contains(export.subject, self.subject):
                return export
        raise StoreError("unable to locate export")


def revoke_activations(
    store: Store, place: ExportPlace, key: str, moment: int, *, signer: KeyPair | None = None
) -> Export:
    """Revoke what an account key, or ``*`` for all, was issued until a moment in Unix seconds. Raises StoreError."""
    change = Change(store, place.account)
    export = place.export(change.claims)
    revoke(export.revocations, key, moment)
    change.sign(signer)
    return export


def restore_activations(store: Store, place: ExportPlace, key: str, *, signer: KeyPair | None = None) -> Export:
    """Take such a revocation back; what is not revoked stays so. Raises StoreError."""
    change = Change(store, place.account)
    export = place.export(change.claims)
    export.revocations.pop(key, None)
    change.sign(signer)
    return export


# Imports.


def opened_activation(claims: AccountClaims, token: str) -> ActivationClaims:
    """The claims of an activation that an account is to import with. Raises StoreError."""
    try:
        activation = ActivationClaims.from_token(token)
    except JwtError as error:
        raise StoreError(str(error)) from None
    if activation.subject not in (claims.subject, "public"):
        raise StoreError(f"activation is not intended for this account - it is for {quote(activation.subject)}")
    return activation


def add_import(store: Store, account: str, item: Import, *, signer: KeyPair | None = None) -> AccountClaims:
    """Take something from another account. Raises StoreError."""
    change = Change(store, account)
    if item.account == change.claims.subject:
        raise StoreError("export issuer is this account")
    if item.share and not item.is_service:
        raise StoreError("only services can set the share property")
    for other in _imports(change.claims):
        if (other.type, other.account, other.subject) == (item.type, item.account, item.subject):
            raise StoreError(f"account already imports {item.type} {quote(item.subject)} from {item.account}")
    refuse_unless_subject(item.subject)
    if item.local_subject:
        refuse_unless_subject(item.local_subject, renames=True)
    change.claims.nats.imports.append(item)
    return change.sign(signer)


def _imports(claims: AccountClaims) -> Iterator[Import]:
    return (item for item in claims.nats.imports if item is not None)


def delete_import(
    store: Store, account: str, subject: str, source: str = "", *, signer: KeyPair | None = None
) -> Import:
    """Take something no longer. An empty subject stands for the only import.

    ``source``, an account's key or name, tells apart what is imported from several. Raises StoreError.
    """
    change = Change(store, account)
    imports = list(_imports(change.claims))
    if not imports:
        raise StoreError(f"account {quote(account)} doesn't have imports")
    if not subject and len(imports) > 1:
        raise StoreError("subject is required")
    found = [item for item in imports if not subject or item.subject == subject]
    if source:
        key = store.account(source).subject if store.has_account(source) else source
        found = [item for item in found if item.account == key]
    elif len(found) > 1:
        accounts = ", ".join(item.account for item in found)
        raise StoreError(f"more than one import {quote(subject)} found - specify --src-account with one of {accounts}")
    if not found:
        where = f" from account {source}" if source else ""
        raise StoreError(f"no import matching {quote(subject)} found{where}")
    change.claims.nats.imports.remove(found[0])
    change.sign(signer)
    return found[0]


# Mappings.


def add_mapping(
    store: Store, account: str, source: str, target: WeightedMapping, *, signer: KeyPair | None = None
) -> AccountClaims:
    """Map a subject to another in its share; a target that is there already gets a new weight. Raises StoreError."""
    change = Change(store, account)
    targets = change.claims.nats.mappings.setdefault(source, [])
    places = [(known.subject, known.cluster) for known in targets]
    if (target.subject, target.cluster) in places:
        targets[places.index((target.subject, target.cluster))] = target
    else:
        targets.append(target)
    if found := change.new_faults():
        hint = shell_hint(source) or shell_hint(target.subject, renames=True)
        raise StoreError(f"mapping validation failed: [{' '.join(found)}]{hint}")
    return change.sign(signer)


def delete_mapping(
    store: Store, account: str, source: str, target: str = "", cluster: str = "", *, signer: KeyPair | None = None
) -> int:
    """Map a subject no longer, to a target, to those of a cluster, or at all. Says how many went. Raises StoreError."""
    change = Change(store, account)
    targets = change.claims.nats.mappings.get(source, [])
    # With a target, no cluster is the general group; without, it is every group.
    kept = [
        known
        for known in targets
        if not ((not target or known.subject == target) and (known.cluster == cluster or not (target or cluster)))
    ]
    if kept:
        change.claims.nats.mappings[source] = kept
    else:
        change.claims.nats.mappings.pop(source, None)
    change.sign(signer)
    return len(targets) - len(kept)
