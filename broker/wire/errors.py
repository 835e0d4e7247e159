"""Every error a client can be told and every reason for which a connection ends, in one table.

The texts are those of the reference; clients of all languages compare with them.
"""

from __future__ import annotations

from enum import Enum


class CloseReason(Enum):
    """Why a connection ended, as monitoring shows it."""

    CLIENT_CLOSED = "Client Closed"
    AUTHENTICATION_TIMEOUT = "Authentication Timeout"
    AUTHENTICATION_FAILURE = "Authentication Failure"
    TLS_HANDSHAKE_FAILURE = "TLS Handshake Failure"
    SLOW_CONSUMER_PENDING = "Slow Consumer (Pending Bytes)"
    SLOW_CONSUMER_DEADLINE = "Slow Consumer (Write Deadline)"
    WRITE_ERROR = "Write Error"
    READ_ERROR = "Read Error"
    PARSE_ERROR = "Parse Error"
    STALE_CONNECTION = "Stale Connection"
    PROTOCOL_VIOLATION = "Protocol Violation"
    BAD_PROTOCOL_VERSION = "Bad Client Protocol Version"
    MAXIMUM_CONNECTIONS = "Maximum Connections Exceeded"
    MAXIMUM_ACCOUNT_CONNECTIONS = "Maximum Account Connections Exceeded"
    MAXIMUM_PAYLOAD = "Maximum Message Payload Exceeded"
    MAXIMUM_CONTROL_LINE = "Maximum Control Line Exceeded"
    MAXIMUM_SUBSCRIPTIONS = "Maximum Subscriptions Exceeded"
    MAXIMUM_DATA = "Maximum Account Data Exceeded"
    SERVER_SHUTDOWN = "Server Shutdown"
    AUTHENTICATION_EXPIRED = "Authentication Expired"
    MISSING_ACCOUNT = "Missing Account"
    REVOKED = "Credentials Revoked"
    NO_RESPONDERS_REQUIRES_HEADERS = "No Responders Requires Headers"
    KICKED = "Kicked"
    INTERNAL_ERROR = "Internal Error"
    PROXY_NOT_TRUSTED = "Proxy Not Trusted"
    PROXY_REQUIRED = "Proxy Required"


class ErrorText(Enum):
    """The text of each `-ERR` line without variable parts; templates are filled by the functions below."""

    UNKNOWN_OPERATION = "Unknown Protocol Operation"
    CONTROL_LINE_EXCEEDED = "maximum control line exceeded"
    AUTHORIZATION_VIOLATION = "Authorization Violation"
    AUTHENTICATION_TIMEOUT = "Authentication Timeout"
    USER_EXPIRED = "User Authentication Expired"
    ACCOUNT_EXPIRED = "Account Authentication Expired"
    USER_REVOKED = "User Authentication Revoked"
    PAYLOAD_EXCEEDED = "Maximum Payload Violation"
    CONNECTIONS_EXCEEDED = "maximum connections exceeded"
    ACCOUNT_CONNECTIONS_EXCEEDED = "maximum account active connections exceeded"
    SUBSCRIPTIONS_EXCEEDED = "maximum subscriptions exceeded"
    DATA_EXCEEDED = "maximum account data exceeded"
    INVALID_PROTOCOL = "invalid client protocol"
    NO_RESPONDERS_REQUIRES_HEADERS = "no responders requires headers support"
    INVALID_SUBJECT = "Invalid Subject"
    INVALID_PUBLISH_SUBJECT = "Invalid Publish Subject"
    STALE_CONNECTION = "Stale Connection"
    THROTTLED = "Connection throttling is active. Please try again later."


def error_line(text: str | ErrorText) -> bytes:
    """The protocol line for an error text."""
    shown = text.value if isinstance(text, ErrorText) else text
    return b"-ERR '" + shown.encode("utf-8", "surrogateescape") + b"'\r\n"


def publish_violation(subject: str) -> str:
    """What a client is told whose message may not go to the subject."""
    return f'Permissions Violation for Publish to "{subject}"'


def reply_violation(reply: str) -> str:
    """What a client is told whose message may not carry the reply subject."""
    return f'Permissions Violation for Publish with Reply of "{reply}"'


def subscribe_violation(subject: str, queue: str | None) -> str:
    """What a client is told that may not subscribe to the subject, or not in the queue."""
    if queue is None:
        return f'Permissions Violation for Subscription to "{subject}"'
    return f'Permissions Violation for Subscription to "{subject}" using queue "{queue}"'


def removed_subscription(subject: str, queue: str | None, sid: str) -> str:
    """What a client is told whose subscription is not allowed any more."""
    return f'{subscribe_violation(subject, queue)} (sid "{sid}")'


def too_many_tokens(subject: str) -> str:
    """What a client is told whose subscription has more tokens than the server takes."""
    return f'Permissions Violation for Subscription to "{subject}", too many tokens'
