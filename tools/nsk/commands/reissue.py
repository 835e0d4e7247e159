"""``reissue operator``: a new identity key for the operator, and accounts signed by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.cli import Command
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store


@dataclass(frozen=True, slots=True)
class ReissuedOperator:
    """What ``reissue operator`` did."""

    name: Annotated[str, "the operator's name"]
    old_key: Annotated[str, "the public key of the identity until now"]
    new_key: Annotated[str, "the public key of the identity from now on"]
    kept_as_signing_key: Annotated[bool, "whether the old key signs accounts further on"]
    signed_again: Annotated[list[str], "the accounts that were signed by the new key"]


def reissue(store: Store, pair: KeyPair, *, convert: bool = False) -> list[str]:
    """Give the operator another identity key and store it; the accounts that were signed again.

    ``convert`` turns the old identity into a signing key; otherwise the accounts that it signed are signed by the new
    one, or by a signing key where the operator requires that. Raises StoreError.
    """
    if store.managed:
        raise StoreError("resign is only supported in non managed stores")
    operator = store.operator()
    old, strict = operator.subject, operator.nats.strict_signing_key_usage
    if strict and not convert and not operator.nats.signing_keys:
        raise StoreError("resign of strict operator is only supported with signing keys present")
    signer = store.operator_signer() if strict and not convert else pair
    store.keystore.store_key(pair)
    if convert and old not in operator.nats.signing_keys:
        operator.nats.signing_keys.append(old)
    operator.subject = pair.public
    store.sign_operator(operator, pair)
    if convert:
        return []
    affected = [name for name in store.accounts() if store.account(name).issuer == old]
    for name in affected:
        store.sign_account(store.account(name), signer)
    return affected


def _reissue(session: Session, flags: Flags) -> ReissuedOperator:
    if not flags.text("name") and not session.environment.operator:
        raise StoreError("no store set")
    store = session.store
    if flags.text("name"):
        store = session.open_store(flags.text("name"))
        session.check_generation(store)
    old, convert = store.operator().subject, flags.boolean("convert-to-signing-key")
    pair = _identity(session)
    affected = reissue(store, pair, convert=convert)
    report = Report()
    report.ok(f"operator {quote(store.operator().name)} successfully changed identity to: {pair.public}")
    if convert:
        report.ok(f"old operator key {quote(old)} turned into signing key")
    else:
        for name in store.accounts():
            report.ok(f"account {quote(name)} {'re-signed' if name in affected else 'already signed properly'}")
    session.finish(report, summarise=True)
    return ReissuedOperator(store.name, old, pair.public, convert, affected)


def _identity(session: Session) -> KeyPair:
    """The operator key that ``-K`` names, else a new one, as nsc does when another kind of key is named."""
    if not session.private_key:
        return KeyPair.generate(KeyKind.OPERATOR)
    pair = session.key_pair(session.private_key)
    if pair is None:
        raise NskError("-K names no public key, no seed and no file that holds a seed")
    return pair if pair.kind is KeyKind.OPERATOR else KeyPair.generate(KeyKind.OPERATOR)


OPERATOR = Command(
    "operator",
    "Re-issues the operator with a new identity and re-signs affected accounts.\n"
    "With an operator key as --private-key, that is the new identity and the issuer of the accounts.\n"
    "Servers know the operator by its key: give them its new JWT, and back up store and servers before.",
    _reissue,
    (
        boolean(
            "convert-to-signing-key",
            "",
            "turn operator identity key into signing key (avoids account re-signing)",
        ),
        text("name", "n", "operator name"),
    ),
    examples="nsk reissue operator",
    usage_on_error=True,
    changes=True,
    result=ReissuedOperator,
)
