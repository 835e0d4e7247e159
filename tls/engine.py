"""The engine of TLS: contexts and connections of listeners, on pyOpenSSL (ADR 10).

A module of its own because the library takes long to load, and a server without TLS does without it.

Rules that hold whatever the settings say: TLS 1.2 at least and 1.3 where the peer can, forward secrecy and
authenticated encryption unless other suites are asked for by name, no compression, no renegotiation. Sessions can be
resumed where clients show no certificates; where they do, each one is judged anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from types import TracebackType
from typing import ClassVar, Final, TypeAlias
from weakref import WeakValueDictionary

from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from tls import native
from tls.certificates import WHAT, Pair, culprit, encoded, read_authorities
from tls.failures import HandshakeError, PeerRefusedError, handshake_error
from tls.policy import HYBRID, CertificatePair, Terms, TLSSettings, TLSSettingsError, terms

TICKETS_LIVE: Final = 24 * 3600.0
"""Seconds after which the keys of session tickets are replaced."""

_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_OPTIONS: Final = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | native.OP_PRIORITIZE_CHACHA
)
_SESSION_SCOPE: Final = b"natskeep"


Judge: TypeAlias = Callable[[tuple[bytes, ...]], object]


class ServerCertificate:
    """One certificate of a listener."""

    __slots__ = ("chain", "names", "staple")

    def __init__(self, pair: Pair) -> None:
        self.chain: tuple[bytes, ...] = tuple(map(encoded, pair.chain))
        """In DER, the server's own first."""
        self.names = pair.names
        """The host names that it is good for, in lower case."""
        self.staple = b""
        """The OCSP response in DER that goes with it to clients that ask (RFC 6066, section 8); empty for none. It may
        be set at any time."""


class ServerContext:
    """What a listener secures its connections with. It never changes but for staples: a renewal makes another one.

    Tickets of sessions stay good across a renewal, as long as the settings and the authorities are the same.
    """

    def __init__(self, settings: TLSSettings, pairs: tuple[CertificatePair, ...]) -> None:
        """Raises TLSSettingsError: a file cannot be read, a certificate and a key do not belong together."""
        self._settings = settings
        self._terms = terms(settings)
        count = len(pairs) if settings.certificates else 0
        loaded = [Pair.read(pair, f" {number}/{count}" if count else "") for number, pair in enumerate(pairs, 1)]
        self.certificates = tuple(map(ServerCertificate, loaded))
        """In the order of the settings."""
        self._authorities = read_authorities(settings.ca_file) if settings.ca_file else b""
        self._contexts: dict[tuple[int, ...], SSL.Context] = {}
        self._by_name = self._named(loaded)
        self._default = self._context(loaded, range(len(loaded)))
        if len(loaded) > 1:
            self._default.set_tlsext_servername_callback(self._choose)
        self._tickets = None if settings.verify else _Tickets.of(self._scope(), partial(_bare, settings, self._terms))
        """None where there are no tickets."""

    def connection(self, judge: Judge | None = None) -> ServerConnection:
        """The server's side of a connection that begins.

        ``judge`` is told the peer's certificates once they are verified, in DER and its own first; it says why the peer
        is refused, which :class:`tls.failures.PeerRefusedError` carries, or None. It is asked in the handshake, so that
        the peer learns of it there, and must answer at once.
        """
        if self._tickets is None:
            connection = SSL.Connection(self._default, None)
        else:
            connection = SSL.Connection(self._tickets.context(), None)
            connection.set_context(self._default)
        connection.set_accept_state()
        return ServerConnection(connection, self, judge)

    def _named(self, loaded: list[Pair]) -> Mapping[str, SSL.Context]:
        """A context for each name that one of several certificates is good for."""
        if len(loaded) == 1:
            return {}
        names: dict[str, list[int]] = {}
        for number, pair in enumerate(loaded):
            for name in pair.names:
                names.setdefault(name, []).append(number)
        return {name: self._context(loaded, numbers) for name, numbers in names.items()}

    def _context(self, loaded: list[Pair], numbers: range | list[int]) -> SSL.Context:
        """A context with the first of these pairs, and the first of each other kind of key for clients that need it."""
        kinds: dict[str, int] = {}
        for number in numbers:
            kinds.setdefault(loaded[number].kind, number)
        chosen = tuple(kinds.values())
        context = self._contexts.get(chosen)
        if context is None:
            context = self._contexts[chosen] = _bare(self._settings, self._terms)
            for number in reversed(chosen):
                _load(loaded[number], context)
            context.set_ocsp_server_callback(_staple, [self.certificates[number] for number in chosen])
        return context

    def _scope(self) -> bytes:
        """What must be the same for a session to go on."""
        return hashlib.sha256(repr(self._terms).encode() + b"\0" + self._authorities).digest()

    def _choose(self, connection: SSL.Connection) -> None:
        """Takes the certificate for the name that the client asks for (RFC 6066, section 3)."""
        host = (connection.get_servername() or b"").decode("latin-1").lower().rstrip(".")
        context = self._by_name.get(host) or self._by_name.get("*." + host.partition(".")[2])
        if context is not None:
            connection.set_context(context)


class ServerConnection:
    """The server's side of the TLS of one connection; what moves its records is in the compiled core."""

    __slots__ = ("_connection", "_context", "_judging")

    def __init__(self, connection: SSL.Connection, context: ServerContext, judge: Judge | None = None) -> None:
        self._connection = connection
        self._context: ServerContext | None = context
        self._judging = None if judge is None else _Judging(connection, judge)

    @property
    def handle(self) -> int:
        """Its address for the compiled core: good as long as this object lives."""
        return native.handle(self._connection)

    def handshake(self) -> bool:
        """Goes on with what has come. True when the handshake is done; raises HandshakeError."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            if self._judging is not None:
                self._judging.check()
            connection = self._connection
            culprit = connection.get_app_data()
            raise handshake_error(
                _reasons(error), native.verification_failure(connection), culprit, datetime.now(UTC)
            ) from None
        # What the handshake alone needs must not outlive a renewal.
        self._context = None
        judging, self._judging = self._judging, None
        if judging is not None:
            native.judge_no_more(self._connection)
            judging.check()
            if not judging.has_judged:
                raise HandshakeError("nobody has judged the certificate")
        return True

    def end(self) -> None:
        """Says the end of the stream; the record that does waits to be sent."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return  # Before the end of the handshake there is nothing to end.

    @property
    def version(self) -> str:
        """The protocol as OpenSSL names it."""
        return self._connection.get_protocol_version_name()

    @property
    def suite(self) -> str:
        """The cipher suite as OpenSSL names it; "" before there is one."""
        return self._connection.get_cipher_name() or ""

    @property
    def group(self) -> str:
        """The group of the exchange of keys as OpenSSL names it; "" before there is one."""
        return self._connection.get_group_name() or ""

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake went on with an earlier session."""
        return native.is_resumed(self._connection)

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER; None where it showed none."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        return None if certificate is None else encoded(certificate)

    @property
    def verified_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates in DER, its own first, up to the trusted authority; none where it showed none."""
        return tuple(map(encoded, self._connection.get_verified_chain(as_cryptography=True) or ()))


class _Judging:
    """What a judge has said of the peer of one handshake."""

    def __init__(self, connection: SSL.Connection, judge: Judge) -> None:
        self._judge = judge
        self._reason: object = None
        self._error: BaseException | None = None
        self.has_judged = False
        self._callback = native.judge_peer(connection, self._accepts, partial(_keep, connection))

    def _accepts(self, chain: tuple[bytes, ...]) -> bool:
        self.has_judged = True
        with self:
            self._reason = self._judge(chain)
        return self._reason is None and self._error is None

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The library cannot pass an error on; so it is kept."""
        self._error = error
        return True

    def check(self) -> None:
        """Raises PeerRefusedError where the peer was refused, and what the judge raised."""
        if self._error is not None:
            raise self._error
        if self._reason is not None:
            raise PeerRefusedError(self._reason)


def _bare(settings: TLSSettings, wanted: Terms) -> SSL.Context:
    """A context with everything but certificates."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _apply_terms(context, wanted, settings)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | native.MODE_NO_AUTO_CHAIN)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(_SESSION_SCOPE)
    if settings.verify:
        # A session that goes on would bring the client's certificate along without a look at what became of it.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verified)
        _load_authorities(context, settings.ca_file)
    return context


def _load_authorities(context: SSL.Context, path: str) -> None:
    if not path:
        context.set_default_verify_paths()
        return
    try:
        context.load_verify_locations(path)
        context.load_client_ca(path.encode())
    except SSL.Error:
        raise TLSSettingsError(
            f"failed to parse root ca certificate: {path} holds no certificate in PEM format"
        ) from None
    # Whoever is in the file is trusted, an intermediate authority too.
    store = context.get_cert_store()
    if store is not None:
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)


def _load(pair: Pair, context: SSL.Context) -> None:
    path = pair.files.cert_file
    try:
        # By its path: only so each certificate of a context keeps a chain of its own.
        context.use_certificate_chain_file(path.encode())
        context.use_privatekey(pair.key)
        context.check_privatekey()
    except SSL.Error as error:
        reason = _reason(error)
        if "too small" in reason:
            reason = f"the key of {path} is too small; use RSA of 2048 bits or more, ECDSA P-256 or Ed25519"
        raise TLSSettingsError(f"{WHAT}{pair.which}: {reason}") from None


def _apply_terms(context: SSL.Context, wanted: Terms, settings: TLSSettings) -> None:
    """Restricts versions, suites and groups. Raises TLSSettingsError for what the library lacks."""
    context.set_min_proto_version(_VERSIONS[wanted.minimum_version])
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    library = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    try:
        context.set_cipher_list(":".join(wanted.suites).encode())
        context.set_tls13_ciphersuites(":".join(wanted.suites_13).encode())
    except SSL.Error:
        raise TLSSettingsError(
            f"none of the cipher suites {', '.join(settings.cipher_suites)} is available in {library}"
        ) from None
    if native.set_groups(context, _in_order(wanted.groups)):
        return
    others = tuple(name for name in wanted.groups if name not in HYBRID)
    if settings.curve_preferences or not native.set_groups(context, ":".join(others)):
        lacking = ", ".join(name for name in wanted.groups if name in HYBRID)
        raise TLSSettingsError(f"curve preference {lacking} is not available in {library}; it needs OpenSSL 3.5")


def _in_order(groups: tuple[str, ...]) -> str:
    """Groups as OpenSSL takes them: whoever has one before a slash is asked for it, though it costs a round trip.

    Otherwise a client that has begun with another one, as most do, would never be held to what is preferred.
    """
    parts = [":".join(part) for _, part in groupby(groups, HYBRID.__contains__)]
    return "/".join(parts)


class _Tickets:
    """The context that sessions belong to: its keys seal their tickets.

    OpenSSL takes the keys from the context that a connection began with, though another one has the certificate. So all
    contexts for which the same sessions are good begin with one of these, before a renewal and after.
    """

    _living: ClassVar[WeakValueDictionary[bytes, _Tickets]] = WeakValueDictionary()

    def __init__(self, make: Callable[[], SSL.Context]) -> None:
        self._make = make
        self._context = make()
        self._since = time.monotonic()

    @classmethod
    def of(cls, scope: bytes, make: Callable[[], SSL.Context]) -> _Tickets:
        """That of the contexts of this scope, as long as one of them lives."""
        tickets = cls._living.get(scope)
        if tickets is None:
            tickets = cls._living[scope] = cls(make)
        return tickets

    def context(self) -> SSL.Context:
        """What connections begin with."""
        now = time.monotonic()
        if now - self._since > TICKETS_LIVE:
            self._context, self._since = self._make(), now
        return self._context


def _staple(connection: SSL.Connection, certificates: list[ServerCertificate] | None) -> bytes:
    if not certificates:
        return b""
    if len(certificates) == 1:
        return certificates[0].staple
    own = connection.get_certificate(as_cryptography=True)
    der = b"" if own is None else encoded(own)
    return next((certificate.staple for certificate in certificates if certificate.chain[0] == der), b"")


def _verified(connection: SSL.Connection, certificate: X509, error: int, depth: int, is_valid: int) -> bool:
    """Looks on while certificates are verified, and changes nothing of what is found."""
    if not is_valid:
        _keep(connection, certificate)
    return bool(is_valid)


def _keep(connection: SSL.Connection, certificate: X509) -> None:
    """Keeps the certificate at which verification failed."""
    with contextlib.suppress(ValueError):
        connection.set_app_data(culprit(certificate.to_cryptography()))


def _reasons(error: SSL.Error) -> list[str]:
    """What went wrong, in the library's words, what was met first before the rest."""
    details = error.args[0] if error.args else ()
    return [str(detail[2]) for detail in details] if isinstance(details, list) else []


def _reason(error: SSL.Error) -> str:
    return (_reasons(error) or ["no valid handshake"])[-1]
