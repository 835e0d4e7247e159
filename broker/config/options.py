"""What a server can be told: one frozen tree of options, equally built by code and by a configuration file.

Durations are seconds (float), sizes are bytes (int). Every field has a default, so ``Options()`` is a complete server
and ``Options(port=-1)`` one on a free port. Secrets are kept out of every repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tls.policy import TLSSettings
from tls.revocation.settings import CacheSettings, PeerSettings, StapleSettings

if TYPE_CHECKING:
    from accounts.account import TraceDestination
    from accounts.exports import Export
    from accounts.imports import Import
    from accounts.limits import AccountLimits, JetStreamLimits
    from accounts.mapping import SubjectMapping
    from accounts.permissions import Permissions
    from auth.login import Authenticate

ANY_ADDRESS: Final = str(IPv4Address(0))
DEFAULT_PORT: Final = 4222
RANDOM_PORT: Final = -1
"""As a port: any free one. The server reports which it got."""
UNLIMITED: Final = -1
DEFAULT_TLS_TIMEOUT: Final = 2.0
"""Seconds."""
DEFAULT_UPGRADE_TIMEOUT: Final = 10.0
"""Seconds for the HTTP request of a WebSocket."""
HANDSHAKE_FIRST_AUTO_DELAY: Final = 0.05
"""Seconds that ``handshake_first: auto`` waits for a ClientHello before it sends INFO."""


class WriteTimeout(Enum):
    """What happens to a client when a write misses ``write_deadline``."""

    DEFAULT = "default"
    """Close clients, retry on links between servers."""
    CLOSE = "close"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions(TLSSettings):
    """TLS of a listener that clients connect to: :class:`tls.policy.TLSSettings` and what the listener does with it."""

    verify_and_map: bool = False
    """Find the user by the facts of the verified client certificate; implies ``verify``."""
    timeout: float = DEFAULT_TLS_TIMEOUT
    """Seconds that a handshake may take."""
    handshake_first: bool | float = False
    """``True``: the handshake comes before INFO. A number above 0: wait so many seconds for a ClientHello, then send
    INFO first. Compare with ``is``: a delay is never 0, but ``bool`` is an ``int``."""
    connection_rate_limit: int = 0
    """Handshakes that may begin per second; 0 is unlimited."""
    ocsp_peer: PeerSettings = field(default_factory=PeerSettings)
    """Questions to OCSP responders about client certificates; needs ``verify``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserOptions:
    """One entry of a ``users`` list: a name with a password, a public nkey, or a name that a certificate maps to."""

    user: str = ""
    """Name of the user; empty for an nkey user."""
    password: str = field(default="", repr=False)
    """Plain text or a bcrypt hash (``$2a$``, ``$2b$``, ``$2x$``, ``$2y$``)."""
    nkey: str = ""
    """Public user nkey (``U…``); excludes name and password."""
    permissions: Permissions | None = None
    """The user's own permissions; ``None`` means the default permissions that stand beside the list."""
    allowed_connection_types: frozenset[str] = frozenset()
    """Upper-case names out of :data:`CONNECTION_TYPES`; empty means every type."""
    proxy_required: bool = False
    """Whether the user must come through a trusted proxy."""
    message_rate: int = UNLIMITED
    """Messages that all connections of the user publish in a second; -1 is unlimited."""
    byte_rate: int = UNLIMITED
    """Bytes of headers and payloads that they publish in a second; -1 is unlimited."""
    origin: str = ""
    """Where it was declared, ``file:line``; empty when declared in code."""

    @property
    def key(self) -> str:
        """What names the user: the nkey, or else the name."""
        return self.nkey or self.user


CONNECTION_TYPES: Final = frozenset(
    {"STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalloutOptions:
    """The ``auth_callout`` block: a service that decides about clients that are no users of the configuration."""

    issuer: str
    """Public account nkey (``A…``) that signs the service's answers and the users in them."""
    account: str = "$G"
    """The account that the service is asked in."""
    users: tuple[str, ...]
    """Users of the configuration, by name or nkey, that the service connects as."""
    xkey: str = ""
    """Public curve key (``X…``) that requests are encrypted for, and answers with; empty is in the clear."""
    allowed_accounts: tuple[str, ...] = ()
    """Accounts that the service may put users in besides its own; empty is all but the system account."""
    break_glass: tuple[str, ...] = ()
    """Users of the configuration that must be able to log in whatever has become of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationOptions:
    """The ``authorization`` block: who may connect to the account ``$G``, and how long he may take to say so."""

    user: str = ""
    """A single user; excludes ``users`` and ``token``."""
    password: str = field(default="", repr=False)
    """Password of the single user, plain or bcrypt."""
    token: str = field(default="", repr=False)
    """A single token, plain or bcrypt."""
    timeout: float | None = None
    """Seconds in which a client must authenticate; ``None`` means :attr:`Options.authorization_timeout`'s default."""
    users: tuple[UserOptions, ...] = ()
    """Users with passwords and users with nkeys, in the order of the file."""
    default_permissions: Permissions | None = None
    """For entries of ``users`` without their own. They do not apply to the single user or the token."""
    proxy_required: bool = False
    """Whether all users must come through a trusted proxy."""
    callout: CalloutOptions | None = None
    """Who decides about clients that are none of these users; ``None`` means nobody, so that they are refused."""
    declared: bool = False
    """Whether there is such a block at all. An empty one asks for no credentials, yet says that none were forgotten."""

    @property
    def password_users(self) -> tuple[UserOptions, ...]:
        """The entries of ``users`` that have a name."""
        return tuple(user for user in self.users if not user.nkey)

    @property
    def nkeys(self) -> tuple[UserOptions, ...]:
        """The entries of ``users`` that have an nkey."""
        return tuple(user for user in self.users if user.nkey)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """One entry of the ``accounts`` block."""

    name: str
    nkey: str = ""
    """Public account nkey (``A…``), or empty."""
    users: tuple[UserOptions, ...] = ()
    default_permissions: Permissions | None = None
    """For users of this account without their own."""
    limits: AccountLimits | None = None
    """Ceilings of the account; ``None`` means none."""
    exports: tuple[Export, ...] = ()
    """What other accounts may take from this one."""
    imports: tuple[Import, ...] = ()
    """What this account takes from others."""
    mappings: tuple[SubjectMapping, ...] = ()
    """How the subjects are rewritten that the account's users publish to; the most specific that matches counts."""
    sender_identity: bool = False
    """Whether messages from and to its users tell who sent them, in the header ``Natskeep-Sender``."""
    jetstream: JetStreamLimits | None = None
    """What its streams may take; ``None`` for an account without."""
    trace: TraceDestination | None = None
    """Where the traces of messages go that carry a sampled ``traceparent``; ``None`` for no traces of theirs."""
    origin: str = ""
    """Where it was declared, ``file:line``; empty when declared in code."""


@dataclass(frozen=True, slots=True)
class OperatorOptions:
    """An operator that this server trusts."""

    token: str
    """Its JWT, not yet verified."""
    origin: str = ""
    """Where it came from: ``file:line``, or the path of the JWT file."""


class ResolverKind(Enum):
    """Where account JWTs come from."""

    MEMORY = "memory"
    """From ``resolver_preload`` alone."""
    URL = "url"
    """From an account server, over HTTP or HTTPS."""
    FULL = "full"
    """From a directory that keeps all that are pushed."""
    CACHE = "cache"
    """From a directory that keeps those in use; what is not there is looked up in the system account."""


DEFAULT_CACHE_LIMIT: Final = 1000
"""JWTs that a cache keeps where no ``limit`` is set."""

DEFAULT_FETCH_TIMEOUT: Final = 1.9
"""Seconds that looking for one account may take; a client gives up after two."""


@dataclass(frozen=True, slots=True)
class ResolverOptions:
    """The account resolver of operator mode."""

    kind: ResolverKind = ResolverKind.MEMORY
    origin: str = ""
    url: str = field(default="", repr=False)
    """``URL``: what stands before an account's key in the address of its JWT."""
    directory: str = ""
    """``FULL`` and ``CACHE``: where the files are."""
    allow_delete: bool = False
    """``FULL``: whether an operator may have JWTs deleted; their files are renamed."""
    hard_delete: bool = False
    """``FULL``: whether nothing is left of a deleted JWT."""
    limit: int = 0
    """JWTs that are kept; 0 is any number, for a cache :data:`DEFAULT_CACHE_LIMIT`."""
    ttl: float = 0.0
    """``CACHE``: seconds that a JWT is kept which nobody asks for; 0 is until it expires."""
    interval: float = 60.0
    """``FULL``: seconds between two questions for newer JWTs in the system account."""
    timeout: float = DEFAULT_FETCH_TIMEOUT
    """Seconds that looking for one account may take."""

    @property
    def is_directory(self) -> bool:
        """Whether JWTs are kept in files."""
        return self.kind in (ResolverKind.FULL, ResolverKind.CACHE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingOptions:
    """What is logged, and where to."""

    debug: bool = False
    trace: bool = False
    """Log protocol lines."""
    trace_verbose: bool = False
    """Trace the system account too."""
    trace_headers: bool = False
    """Trace headers, not payloads."""
    logtime: bool = True
    """Put the time in front of each line."""
    logtime_utc: bool = False
    log_format: str = "text"
    """``text`` for nats-server's lines, ``json`` for one object a line."""
    log_file: str = ""
    """Path; empty means syslog where that is asked for, else the standard error stream."""
    syslog: bool = False
    """Log to the local syslog daemon."""
    remote_syslog: str = ""
    """Log to syslog at ``udp://host:port``, ``tcp://host:port`` or ``unix:///path``."""
    log_size_limit: int = 0
    """Bytes after which the file is rotated; 0 is never."""
    log_max_num: int = 0
    """Log files to keep, the current one included; 0 is all."""
    max_traced_msg_len: int = 0
    """Bytes of a payload that a trace shows; 0 is all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorAccess:
    """Who may look at monitoring; each secret is a token in the clear or as a bcrypt hash."""

    token: str = field(default="", repr=False)
    """The operator's, who sees everything."""
    accounts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Tokens of tenants by the names of their accounts; each sees what is about its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOptions:
    """The HTTP monitoring port."""

    host: str = ""
    """Address to listen on; empty means that of the clients' port."""
    port: int = 0
    """0 is off, -1 a free port. Excludes ``https_port``."""
    https_port: int = 0
    """The same with the server's TLS."""
    base_path: str = "/"
    """Path that all endpoints stand under; starts with a slash."""
    access: MonitorAccess | None = None
    """Who may look; None is everybody."""
    dashboard: bool = False
    """Show pages for people under ``/ui``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """The ledger of security events."""

    directory: str = ""
    """Where its files lie; empty means that there is none."""
    key: str = ""
    """File with the seed of the server nkey that seals it, made where it is missing; empty is ``server.nk`` there."""
    previous_key: str = ""
    """File with the seed that sealed the ledger until now, where ``key`` is another one."""
    seal_interval: float = 1.0
    """Seconds after which what was written is sealed and on the disk, at most."""
    maximum_file: int = 64 * 1024 * 1024
    """Bytes of one file, about; then another begins."""
    keep: int = 0
    """Files to keep; 0 is all."""
    refuse_unrecorded: bool = False
    """Turn logins away while the ledger cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionOptions:
    """What clients that have not proved who they are may take of the server."""

    max_unauthenticated: int = 0
    """Of them at one time; 0 is half of what ``max_connections`` and the open files of the process allow."""
    max_unauthenticated_per_address: int = 0
    """Of one address; 0 is any number."""
    max_unauthenticated_memory: int = 256 * 1024 * 1024
    """Bytes that all of them together make the server hold."""
    handshakes_per_address: int = 0
    """Handshakes of TLS that an address may begin in a second; 0 is any number."""
    failures_per_address: int = 60
    """Logins and handshakes of an address that may fail in a minute, and once more for each of its clients that is
    logged in; 0 turns nobody away."""
    longest_backoff: float = 60.0
    """Seconds for which an address is turned away at most."""
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks for which the limits of an address do not hold."""


PRIVATE_NETWORKS: Final = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""Loopback, private and link-local addresses (RFC 1918, 3927, 4193 and 4291)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """The PROXY protocol of a port: proxies that tell where clients come from."""

    trusted: tuple[str, ...] = PRIVATE_NETWORKS
    """Networks of the proxies: from there a header must come, and from nowhere else one may."""
    timeout: float = 5.0
    """Seconds that the header may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixOptions:
    """The Unix socket; without a path there is none."""

    path: str = ""
    mode: int = 0o600
    """Who may connect: the permission bits of the socket's file."""
    group: str = ""
    """Name or number of the group that the file belongs to; empty for that of the process."""
    verify_and_map: bool = False
    """Whether clients are users of the configuration by the system user whose process they are."""
    tls: bool = False
    """Whether they have to speak TLS, with the settings of the clients' port."""


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """The port for clients over WebSocket."""

    host: str = ANY_ADDRESS
    """Address to listen on."""
    port: int = 0
    """0 is off, -1 a free port."""
    advertise: str = ""
    """``host[:port]`` that monitoring shows."""
    tls: TLSOptions | None = None
    """Its own; `handshake_first` has no meaning, because the handshake always comes first."""
    proxy_protocol: ProxyOptions | None = None
    """Proxies before this port; ``None`` means that clients come by themselves."""
    no_tls: bool = False
    """Whether it may go without; it has no effect where there is `tls`."""
    same_origin: bool = False
    """Refuse pages that do not come from the host and port that they connect to."""
    allowed_origins: tuple[str, ...] = ()
    """URLs of the only origins whose pages may connect; empty is all. Programs that are no browsers name none."""
    handshake_timeout: float = DEFAULT_UPGRADE_TIMEOUT
    """Seconds that the HTTP request may take, behind the handshake of TLS."""
    compression: bool = False
    user: str = ""
    """The single user of this port; with `token` and `no_auth_user` it takes the place of the server's own."""
    password: str = field(default="", repr=False)
    """Its password, plain or bcrypt."""
    token: str = field(default="", repr=False)
    """The single token of this port, plain or bcrypt."""
    authorization_timeout: float | None = None
    """Seconds in which a client must authenticate; ``None`` is that of the clients' port."""
    no_auth_user: str = ""
    """Name or nkey of the user that a client of this port without credentials becomes."""
    jwt_cookie: str = ""
    """Name of the cookie that fills in for a JWT that CONNECT lacks; the others likewise."""
    user_cookie: str = ""
    password_cookie: str = ""
    token_cookie: str = ""
    headers: Mapping[str, str] = field(default_factory=_empty)
    """Headers of the HTTP answer besides its own."""
    ping_interval: float | None = None
    """Seconds between PINGs to a client; ``None`` is that of the clients' port."""

    @property
    def has_own_credentials(self) -> bool:
        """Whether who may connect is not for the server's own single credentials and ``no_auth_user`` to say."""
        return bool(self.user or self.token or self.no_auth_user)


@dataclass(frozen=True, slots=True, kw_only=True)
class JetStreamCeilings:
    """What every stream and consumer of a server keeps to; 0 is no ceiling. Durations are nanoseconds."""

    max_ack_pending: int = 0
    """Unacknowledged messages of a consumer."""
    max_request_batch: int = 0
    """Messages that one pull may ask for."""
    duplicate_window: int = 0
    """Longest window for finding duplicates."""
    batch_inflight_per_stream: int = 50
    """Atomic batches that one stream takes at a time."""
    batch_inflight_total: int = 1000
    batch_messages: int = 1000
    """Messages of an atomic batch."""
    batch_timeout: int = 10_000_000_000
    """How long a batch may pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JetStreamOptions:
    """Streams that keep messages, where the server has them."""

    store_dir: str = ""
    """Directory; streams are kept in ``jetstream`` below it. Empty is ``nats`` in the directory for temporary files."""
    domain: str = ""
    """Name that requests may put behind ``$JS`` to mean this server; empty for none."""
    max_memory: int = UNLIMITED
    """Bytes of all streams in memory; -1 is three quarters of the machine's."""
    max_store: int = UNLIMITED
    """Bytes of all streams on disk; -1 is three quarters of what is free at the start."""
    strict: bool = True
    """Refuse requests with unknown fields."""
    key: str = field(default="", repr=False)
    """Seals the data keys of accounts, by which all that they have on disk is encrypted; empty encrypts nothing."""
    previous_key: str = field(default="", repr=False)
    """The key before it."""
    key_command: tuple[str, ...] = ()
    """Asks whoever has the key, in place of ``key``; the first word is the program."""
    key_timeout: float = 10.0
    """Seconds that the command may take."""
    key_dir: str = ""
    """Directory of the key files of accounts. Empty is ``keys`` beside the streams."""
    cipher: str = "chacha"
    """``chacha`` or ``aes``."""
    ceilings: JetStreamCeilings = field(default_factory=JetStreamCeilings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that one server is told. Units: seconds and bytes."""

    # Where clients connect.
    host: str = ANY_ADDRESS
    """Address to listen on."""
    port: int = DEFAULT_PORT
    """TCP port; -1 takes a free one."""
    server_name: str = ""
    """Name shown to clients; no spaces. Empty means the server's id."""
    client_advertise: str = ""
    """``host[:port]`` that INFO shows in place of the address listened on."""

    proxy_protocol: ProxyOptions | None = None
    """Proxies before the port; ``None`` means that clients come by themselves."""

    # What a client may use.
    max_connections: int = 65536
    """Client connections at one time; -1 is unlimited."""
    max_control_line: int = 4096
    """Bytes of a protocol line without its payload."""
    max_payload: int = 1024 * 1024
    """Bytes of a message with its headers; not above ``max_pending``."""
    max_pending: int = 64 * 1024 * 1024
    """Bytes that may wait for one client before it counts as a slow consumer."""
    max_subscriptions: int = 0
    """Subscriptions of one connection; 0 is unlimited."""
    max_subscription_tokens: int = 0
    """Tokens that a subscription's subject may have, 1 to 255; 0 is unlimited."""
    max_closed_clients: int = 10000
    """Closed connections that monitoring remembers."""
    no_header_support: bool = False
    admission: AdmissionOptions = field(default_factory=AdmissionOptions)
    """What clients may take before they have logged in."""
    no_fast_producer_stall: bool = False
    """Never pause a publisher whose receivers lag."""
    disable_sublist_cache: bool = False

    # Time.
    ping_interval: float = 120.0
    """Seconds between PINGs to a client."""
    ping_max: int = 2
    """PINGs that may stay unanswered before the connection counts as stale."""
    write_deadline: float = 10.0
    """Seconds that a write to a client may take."""
    write_timeout: WriteTimeout = WriteTimeout.DEFAULT
    lame_duck_duration: float = 120.0
    """Seconds over which a lame duck spreads the closing of its clients; at least 30 in a file."""
    lame_duck_grace_period: float = 10.0
    """Seconds before a lame duck begins to close clients; below ``lame_duck_duration``."""

    # Security.
    tls: TLSOptions | None = None
    allow_non_tls: bool = False
    """Whether clients may stay in the clear where ``tls`` is set."""
    ocsp: StapleSettings = field(default_factory=StapleSettings)
    """OCSP answers about the server's own certificates."""
    ocsp_cache: CacheSettings = field(default_factory=CacheSettings)
    """OCSP answers about client certificates that are kept."""
    store_dir: str = ""
    """Directory of what the server keeps besides streams; empty is that of ``jetstream``, where there is one."""
    authorization: AuthorizationOptions = field(default_factory=AuthorizationOptions)
    accounts: tuple[AccountOptions, ...] = ()
    """Accounts in the order of the file; names are unique."""
    mappings: tuple[SubjectMapping, ...] = ()
    """Mappings of the account ``$G``."""
    authenticator: Authenticate | None = None
    """An async function of the embedding program that decides about clients that are no users of these options; it is
    given an :class:`auth.login.Login` and returns an :class:`auth.login.Admission`, or None. Excludes a callout."""
    no_auth_user: str = ""
    """Name or nkey of the user that a client without credentials becomes."""
    system_account: str = ""
    """Name, or public key in operator mode; empty means ``$SYS``."""
    no_system_account: bool = False

    # Operator mode.
    operators: tuple[OperatorOptions, ...] = ()
    trusted_keys: tuple[str, ...] = ()
    """Public operator nkeys (``O…``) that are trusted without their JWT."""
    resolver: ResolverOptions | None = None
    resolver_tls: TLSSettings | None = None
    """TLS towards the account server of a URL resolver; ``None`` trusts the authorities of the system."""
    resolver_preload: Mapping[str, str] = field(default_factory=_empty)
    """Account JWTs by public account nkey."""
    resolver_pinned_accounts: frozenset[str] = frozenset()
    """Public keys of the only accounts this server serves; empty means all."""
    default_sentinel: str = field(default="", repr=False)
    """Bearer JWT of the user that a client without a JWT becomes."""

    # Being watched.
    logging: LoggingOptions = field(default_factory=LoggingOptions)
    monitor: MonitorOptions = field(default_factory=MonitorOptions)
    audit: AuditOptions = field(default_factory=AuditOptions)
    jetstream: JetStreamOptions | None = None
    """Streams that keep messages; ``None`` is a server without."""
    websocket: WebSocketOptions = field(default_factory=WebSocketOptions)
    unix: UnixOptions = field(default_factory=UnixOptions)
    pid_file: str = ""
    """File to write the process id to."""
    ports_file_dir: str = ""
    """Directory for the file that tells the ports listened on."""
    server_tags: tuple[str, ...] = ()
    server_metadata: Mapping[str, str] = field(default_factory=_empty)
    feature_flags: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    """Those of nats-server; only monitoring shows them."""
    connect_error_reports: int = 3600
    reconnect_error_reports: int = 1
    config_file: str = ""
    """The file these options were read from; empty when built in code."""
    config_digest: str = ""
    """``sha256:…`` over what the file says; empty when built in code."""

    @property
    def authorization_timeout(self) -> float:
        """Seconds in which a client must authenticate: as set, or 2, or one more than the TLS handshake may take."""
        if self.authorization.timeout is not None:
            return self.authorization.timeout
        return 2.0 if self.tls is None else self.tls.timeout + 1.0
