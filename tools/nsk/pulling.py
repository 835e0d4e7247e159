"""What may be taken from servers into the store: nothing that servers themselves would not use.

A server, or whoever stands before it, may send anything. Accepted are the operator's own JWT and accounts that the
operator signed, each under the key that was asked for and not under the name of another.
"""

from __future__ import annotations

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims
from auth.envelope import JwtError
from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.store import Store, check_name


def accept(
    store: Store, token: str, *, public: str = "", overwrite: bool = False
) -> tuple[OperatorClaims | AccountClaims, str]:
    """The claims of a JWT that may be stored, and the JWT. ``public`` is the key of the account that was asked for.

    Older claims than the stored ones are accepted with ``overwrite`` only. Raises NskError with the reason.
    """
    try:
        claims = jwt.decode(token)
    except JwtError as error:
        raise NskError(f"error decoding remote token: {error}") from None
    if isinstance(claims, OperatorClaims):
        _check_operator(store, claims)
        local = store.operator().issued_at
    elif isinstance(claims, AccountClaims):
        _check_account(store, claims, public)
        local = store.account(claims.name).issued_at if store.has_account(claims.name) else 0
    else:
        raise NskError(f"unsupported token type: {quote(claims.type_name)}")
    if local > claims.issued_at and not overwrite:
        raise NskError(
            f"local jwt for {quote(claims.name)} is newer than remote version - specify --overwrite-newer to overwrite"
        )
    return claims, token


def _check_operator(store: Store, claims: OperatorClaims) -> None:
    local = store.operator()
    if claims.subject != local.subject:
        raise NskError(
            f"the server has operator {claims.subject}, and {quote(store.name)} is {local.subject}: not stored"
        )
    if claims.issuer not in (local.subject, *local.nats.signing_keys):
        raise NskError(f"the operator's JWT is signed by {claims.issuer}, which is no key of the operator: not stored")


def _check_account(store: Store, claims: AccountClaims, public: str) -> None:
    check_name(claims.name, "account")
    if public and claims.subject != public:
        raise NskError(f"the server sent account {claims.subject} for {public}: not stored")
    if store.has_account(claims.name) and store.account(claims.name).subject != claims.subject:
        raise NskError(f"account {claims.subject} has the name of another one, {quote(claims.name)}: not stored")
    own = store.managed and claims.issuer == claims.subject
    if not own and claims.issuer not in store.operator_signers():
        raise NskError(
            f"account {quote(claims.name)} is signed by {claims.issuer}, which is no key of operator "
            f"{quote(store.name)}: not stored"
        )


def store_accepted(store: Store, claims: OperatorClaims | AccountClaims, token: str) -> None:
    """Store what was accepted."""
    if isinstance(claims, OperatorClaims):
        store.write_operator(token)
    else:
        store.write_account(claims.name, token)
