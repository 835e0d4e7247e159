"""Issues what the benchmark servers trust: an operator, its accounts, a user of each, and a certificate authority."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auth.envelope import seal
from auth.nkey import KeyKind, KeyPair

ACCOUNT_LIMITS = {
    "subs": 2_000_000,
    "data": -1,
    "payload": 1024 * 1024,
    "imports": 16,
    "exports": 16,
    "wildcards": True,
    "conn": 20_000,
    "leaf": 0,
}
"""Limits of all accounts: every check has something to do, and no row reaches one."""

SUBJECTS: Mapping[str, Sequence[str]] = {"allow": ["bench.>", "_INBOX.>"], "deny": ["bench.private.>"]}
"""What the users may publish and subscribe to."""


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An account of a row: what its claims say about exports, imports, mappings and default permissions.

    ``imports`` name the exporting account by its plan's name. Users have `SUBJECTS` as their own permissions, unless
    the account has default permissions, which then hold.
    """

    name: str
    exports: Sequence[Mapping[str, object]] = ()
    imports: Sequence[tuple[str, Mapping[str, object]]] = ()
    mappings: Mapping[str, object] = field(default_factory=dict)
    permissions: Mapping[str, object] = field(default_factory=dict)


ALONE = (AccountPlan("BENCH"), AccountPlan("OTHER"))
"""One account that carries the load, and one that stays empty."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A user's token and key. No representation shows either."""

    jwt: str
    key: KeyPair

    def signature(self, nonce: str) -> str:
        """The `sig` field of CONNECT for this nonce."""
        return base64.urlsafe_b64encode(self.key.sign(nonce.encode())).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, repr=False)
class Trust:
    """What a server's configuration needs, and the users that it will let in.

    `users` holds one user of each planned account, in the order of the plans.
    """

    operator_jwt: str
    system_account: str
    account_jwts: dict[str, str]
    users: tuple[Credentials, ...]


def forge_trust(plans: Sequence[AccountPlan] = ALONE) -> Trust:
    """Issue an operator, a system account, the planned accounts with limits, and a user with permissions in each."""
    operator = KeyPair.generate(KeyKind.OPERATOR)
    everyone = (AccountPlan("SYS"), *plans)
    keys = {plan.name: KeyPair.generate(KeyKind.ACCOUNT) for plan in everyone}
    system_account = keys["SYS"].public
    return Trust(
        operator_jwt=issue(operator, operator.public, "bench", {"system_account": system_account}, "operator"),
        system_account=system_account,
        account_jwts={
            keys[plan.name].public: issue(
                operator, keys[plan.name].public, plan.name, account_claims(plan, keys), "account"
            )
            for plan in everyone
        },
        users=tuple(user_of(keys[plan.name], {} if plan.permissions else SUBJECTS) for plan in plans),
    )


def forge_certificates(directory: Path) -> None:
    """Write `ca.pem`, `server.pem` and `server-key.pem` (ECDSA P-256, valid for localhost and all of 127.0.0.1)."""
    authority_key, authority = _certificate("natskeep bench CA", None)
    server_key, server = _certificate("localhost", (authority_key, authority))
    (directory / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (directory / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    secret = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(directory / "server-key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)


def account_claims(plan: AccountPlan, keys: Mapping[str, KeyPair]) -> dict[str, object]:
    """What the JWT of a planned account says; ``keys`` are those of the accounts that it imports from, by plan."""
    claims: dict[str, object] = {
        "limits": ACCOUNT_LIMITS,
        "default_permissions": plan.permissions or {"pub": {}, "sub": {}},
        "authorization": {},
    }
    if plan.exports:
        claims["exports"] = plan.exports
    if plan.imports:
        claims["imports"] = [{**claim, "account": keys[exporter].public} for exporter, claim in plan.imports]
    if plan.mappings:
        claims["mappings"] = plan.mappings
    return claims


def user_of(account: KeyPair, subjects: Mapping[str, object]) -> Credentials:
    """A new user of an account, who may publish and subscribe to these subjects."""
    key = KeyPair.generate(KeyKind.USER)
    claims: dict[str, object] = {"pub": subjects, "sub": subjects, "subs": -1, "data": -1, "payload": -1}
    return Credentials(issue(account, key.public, "bench", claims, "user"), key)


def issue(issuer: KeyPair, subject: str, name: str, claims: dict[str, object], kind: str) -> str:
    """A JWT with these claims, issued now."""
    payload = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": name,
        "sub": subject,
        "nats": {**claims, "type": kind, "version": 2},
    }
    return seal(json.dumps(payload, separators=(",", ":")).encode(), issuer)


def _certificate(
    name: str, issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, issuer_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(signer, hashes.SHA256())
