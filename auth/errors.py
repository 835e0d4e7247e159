"""The table of failures: each way to fail has its own reason inside, and says little outside.

A client is told the text of NATS's client protocol and nothing more; the log and the authentication events get the
reason. No text ever holds a seed, password, token or signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

AUTHORIZATION_VIOLATION_TEXT: Final = "Authorization Violation"
USER_EXPIRED_TEXT: Final = "User Authentication Expired"
ACCOUNT_EXPIRED_TEXT: Final = "Account Authentication Expired"
USER_REVOKED_TEXT: Final = "User Authentication Revoked"

_FAILED: Final = "Authentication Failure"
_EXPIRED: Final = "Authentication Expired"
_CLOSED: Final = "Client Closed"


@dataclass(frozen=True, slots=True)
class FailureTexts:
    """One row of the table: a stable code, the ``-ERR`` text, the reason of closing that monitoring shows, the log."""

    code: str
    log: str
    client: str = AUTHORIZATION_VIOLATION_TEXT
    closed_reason: str = _FAILED


class AuthFailure(Enum):
    """Every reason for which evidence is refused."""

    # Whoever stands in between.
    PROXY_NOT_TRUSTED = FailureTexts("proxy-not-trusted", "Proxy is not trusted", closed_reason="Proxy Not Trusted")
    PROXY_REQUIRED = FailureTexts("proxy-required", "Proxy is required", closed_reason="Proxy Required")

    # The user's token.
    USER_JWT_MISSING = FailureTexts("user-jwt-missing", "Authentication requires a user JWT")
    USER_JWT_UNREADABLE = FailureTexts("user-jwt-unreadable", "Authentication requires a user JWT")
    USER_KEY_NOT_VALID = FailureTexts("user-key-not-valid", "User nkey not valid")
    USER_JWT_EXPIRED = FailureTexts("user-jwt-expired", "User JWT no longer valid")
    USER_JWT_NEVER_VALID = FailureTexts(
        "user-jwt-never-valid", "User JWT no longer valid", client=USER_EXPIRED_TEXT, closed_reason=_EXPIRED
    )
    USER_JWT_NOT_YET_VALID = FailureTexts("user-jwt-not-yet-valid", "User JWT no longer valid")
    USER_JWT_HAS_ISSUES = FailureTexts("user-jwt-has-issues", "User JWT no longer valid")
    USER_REVOKED = FailureTexts("user-revoked", "User authentication revoked")

    # The chain to the operator.
    ACCOUNT_NOT_PINNED = FailureTexts("account-not-pinned", "Account not listed as operator pinned account")
    ACCOUNT_UNKNOWN = FailureTexts("account-unknown", "Account JWT lookup error")
    ACCOUNT_JWT_UNREADABLE = FailureTexts("account-jwt-unreadable", "Account JWT lookup error")
    ACCOUNT_JWT_MISPLACED = FailureTexts("account-jwt-misplaced", "Account JWT lookup error")
    ACCOUNT_HAS_ISSUES = FailureTexts("account-has-issues", "Account JWT has validation issues")
    ACCOUNT_NOT_TRUSTED = FailureTexts("account-not-trusted", "Account JWT not signed by trusted operator")
    ACCOUNT_EXPIRED = FailureTexts("account-expired", "Account JWT has expired")
    ACCOUNT_NOT_YET_VALID = FailureTexts("account-not-yet-valid", "Account JWT is not yet valid")
    OPERATOR_EXPIRED = FailureTexts("operator-expired", "Operator JWT has expired")
    OPERATOR_NOT_YET_VALID = FailureTexts("operator-not-yet-valid", "Operator JWT is not yet valid")
    USER_ISSUER_UNKNOWN = FailureTexts("user-issuer-unknown", "User JWT issuer is not known")
    SCOPED_USER_NOT_EMPTY = FailureTexts("scoped-user-not-empty", "User JWT is not valid")
    PERMISSIONS_NOT_VALID = FailureTexts("permissions-not-valid", "User JWT generated invalid permissions")

    # What user and account ask of the connection.
    BEARER_NOT_ALLOWED = FailureTexts("bearer-not-allowed", "Account does not allow bearer tokens")
    CONNECTION_TYPE_NOT_ALLOWED = FailureTexts("connection-type-not-allowed", "Connection type not allowed")
    SOURCE_NOT_ALLOWED = FailureTexts("source-not-allowed", "Bad src Ip")
    OUTSIDE_CONNECT_TIMES = FailureTexts("outside-connect-times", "Outside connect times")

    # The signature over the nonce.
    SIGNATURE_MISSING = FailureTexts("signature-missing", "Signature missing")
    SIGNATURE_NOT_BASE64 = FailureTexts("signature-not-base64", "Signature not valid base64")
    SIGNATURE_NOT_VERIFIED = FailureTexts("signature-not-verified", "Signature not verified")

    # Users of the configuration.
    NKEY_UNKNOWN = FailureTexts("nkey-unknown", "User nkey is not known")
    USER_UNKNOWN = FailureTexts("user-unknown", "User is not known")
    PASSWORD_WRONG = FailureTexts("password-wrong", "Password does not match")
    TOKEN_WRONG = FailureTexts("token-wrong", "Token does not match")
    CREDENTIALS_MISSING = FailureTexts("credentials-missing", "No credentials given")
    CERTIFICATE_NOT_MAPPED = FailureTexts("certificate-not-mapped", "No user for the client certificate")
    PEER_NOT_MAPPED = FailureTexts("peer-not-mapped", "No user for the peer of the Unix socket")

    # Logins that somebody else decides.
    CALLOUT_NOT_ASKED = FailureTexts("callout-not-asked", "Auth callout was not asked")
    CALLOUT_ABSENT = FailureTexts("callout-absent", "Auth callout has no service")
    CALLOUT_SILENT = FailureTexts("callout-silent", "Auth callout did not answer in time")
    CALLOUT_DENIED = FailureTexts("callout-denied", "Auth callout denied")
    CALLOUT_ANSWER_NOT_VALID = FailureTexts("callout-answer-not-valid", "Auth callout answer is not valid")
    CALLOUT_USER_NOT_VALID = FailureTexts("callout-user-not-valid", "Auth callout user is not valid")
    CALLOUT_ACCOUNT_NOT_ALLOWED = FailureTexts("callout-account-not-allowed", "Auth callout account is not allowed")
    AUTHENTICATOR_DENIED = FailureTexts("authenticator-denied", "Authenticator of the program denied")
    AUTHENTICATOR_FAILED = FailureTexts("authenticator-failed", "Authenticator of the program failed")

    # What ends a connection that was admitted.
    USER_EXPIRED_LIVE = FailureTexts(
        "user-expired-live", "User Authentication Expired", client=USER_EXPIRED_TEXT, closed_reason=_EXPIRED
    )
    ACCOUNT_EXPIRED_LIVE = FailureTexts(
        "account-expired-live", "Account Authentication Expired", client=ACCOUNT_EXPIRED_TEXT, closed_reason=_EXPIRED
    )
    USER_REVOKED_LIVE = FailureTexts(
        "user-revoked-live",
        "User Authentication Revoked",
        client=USER_REVOKED_TEXT,
        closed_reason="Credentials Revoked",
    )
    SIGNING_KEY_CHANGED_LIVE = FailureTexts(
        "signing-key-changed-live", "Signing key was removed or its scope changed", client=""
    )

    CALLOUT_CHANGED_LIVE = FailureTexts("callout-changed-live", "Whoever admitted the user decides no longer")
    USER_GONE_LIVE = FailureTexts("user-gone-live", "User is not known any more", client="", closed_reason=_CLOSED)
    USER_MOVED_LIVE = FailureTexts(
        "user-moved-live", "User belongs to another account now", client="", closed_reason=_CLOSED
    )

    @property
    def code(self) -> str:
        """A stable name of the failure, for events and tests."""
        return self.value.code


class AuthError(Exception):
    """Evidence was refused. ``detail`` goes to the log only and holds no secret."""

    def __init__(self, failure: AuthFailure, detail: str = "") -> None:
        super().__init__(f"{failure.value.log}: {detail}" if detail else failure.value.log)
        self.failure = failure
        self.detail = detail

    @property
    def client_text(self) -> str:
        """What the client is told after ``-ERR``; nothing at all when empty."""
        return self.failure.value.client

    @property
    def closed_reason(self) -> str:
        """What monitoring and events give as the reason of closing."""
        return self.failure.value.closed_reason

    @property
    def log_text(self) -> str:
        """What the operator's log says."""
        return str(self)


class StrangerError(AuthError):
    """The evidence names nobody of the configuration; somebody else may know who it is."""
