"""The flags of commands that speak to running servers: as whom, and with what for TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from os import environ
from pathlib import Path
from typing import Final

from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.flags import Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.remote import Access
from tools.nsk.report import Report
from tools.nsk.session import Session

TLS_FLAGS: Final[tuple[Flag, ...]] = (
    text("ca-cert", "", "ca certificate file for tls connections"),
    text("client-cert", "", "client certificate file for tls connections"),
    text("client-key", "", "client key file for tls connections"),
    boolean("tls-first", "", "use tls-first when connecting to the nats server"),
    text(
        "tls-curves",
        "",
        "comma-separated TLS curve preferences (e.g. P256,P384,P521); defaults to Go's TLS defaults",
    ),
)
SYSTEM_FLAGS: Final[tuple[Flag, ...]] = (
    text(
        "system-account",
        "",
        "System account for use with nats-resolver enabled nats-server. "
        "(Default is system account specified by operator)",
    ),
    text(
        "system-user",
        "",
        "System account user for use with nats-resolver enabled nats-server. (Default to temporarily generated user)",
    ),
)
_CURVES: Final = {"p256": "prime256v1", "p384": "secp384r1", "p521": "secp521r1", "x25519": "X25519"}


def access_of(session: Session, flags: Flags, *, url: str = "", timeout: float = 1.0) -> Access:
    """Where the servers are and how to get there. Raises NskError for an unknown curve."""
    return Access(
        url=url,
        account=flags.text("system-account"),
        user=flags.text("system-user"),
        ca=named_file(flags, "NATS_CA", "ca-cert"),
        certificate=named_file(flags, "NATS_CERT", "client-cert"),
        key=named_file(flags, "NATS_KEY", "client-key"),
        curves=curves_named(flags.text("tls-curves")),
        tls_first=flags.boolean("tls-first"),
        timeout=timeout,
        program=session.output.program,
    )


def named_file(flags: Flags, variable: str, *names: str) -> Path | None:
    """The file that the first of these flags names, or else an environment variable."""
    given = next((flags.text(name) for name in names if flags.text(name)), "") or environ.get(variable, "")
    return Path(given).expanduser() if given else None


def curves_named(given: str) -> tuple[str, ...]:
    """Curves by the names of OpenSSL, from a list with commas. Raises NskError for one that is not known."""
    found = []
    for raw in given.split(",") if given else ():
        name = raw.strip().lower().removeprefix("curve")
        if name not in _CURVES:
            raise NskError(f"unknown TLS curve {quote(raw)} (accepted: P256, P384, P521, X25519)")
        found.append(_CURVES[name])
    return tuple(found)


@contextmanager
def usage_if_compatible(session: Session) -> Iterator[None]:
    """Around what is checked before the work begins: nsc shows the usage whatever is wrong there."""
    try:
        yield
    except NskError as error:
        error.show_usage = session.output.compatible
        raise


def finish(session: Session, report: Report, *, keep: bool = False, usage: bool = False) -> None:
    """Print the report of work on servers. Raises NskError, without ``usage``, when something in it failed."""
    if session.output.compatible and not report.children:
        session.output.line("\nall jobs succeeded", Channel.REPORT)
        return
    with nullcontext() if usage else without_usage():
        session.finish(report, summarise=True, keep=keep)


@contextmanager
def without_usage() -> Iterator[None]:
    """Around work on servers: how the command is written has nothing to do with what goes wrong there."""
    try:
        yield
    except NskError as error:
        error.show_usage = False
        raise
