"""What natskeep does differently with a configuration that was written for nats-server, and why.

The words are those of docs/differences.md; here each difference also knows which configurations it touches. Differences
that concern only what clients send, or the command line, are not told here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, TypeAlias

from accounts.permissions import Permissions
from accounts.subject import overlaps
from auth.envelope import JwtError, open_unverified
from broker.config.options import UNLIMITED, Options, TLSOptions
from tls.policy import TLS13_SUITES
from tls.revocation.settings import CacheKind, StapleMode

Condition: TypeAlias = "Callable[[Options], bool]"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what either server does, and the reason for the change."""

    reference: str
    natskeep: str
    why: str
    """Empty where natskeep is to do the same one day."""
    touches: Condition
    """Whether a configuration meets it."""

    def __str__(self) -> str:
        text = f"nats-server: {self.reference}\n   natskeep: {self.natskeep}"
        return f"{text}\n        why: {self.why}" if self.why else text


def touched(options: Options) -> list[Difference]:
    """The differences that a configuration meets."""
    return [difference for difference in DIFFERENCES if difference.touches(options)]


def report(program: str, options: Options) -> str:
    """What to tell an operator about a configuration; empty when nothing differs."""
    found = touched(options)
    if not found:
        return ""
    parts = "\n\n".join(map(str, found))
    return f"{program} does {len(found)} of the things that this file asks for differently:\n\n{parts}"


def _permissions(options: Options) -> Iterator[Permissions]:
    """Every set of permissions in the file."""
    authorization = options.authorization
    holders = [(authorization.default_permissions, authorization.users)]
    holders += [(account.default_permissions, account.users) for account in options.accounts]
    for default, users in holders:
        if default is not None:
            yield default
        yield from (user.permissions for user in users if user.permissions is not None)


def _has_wide_subscriptions(options: Options) -> bool:
    """Whether an allowed subscription ends in a wildcard that a wider one could reach around."""
    return any(
        "*" in grant.subject.split(".")
        for permissions in _permissions(options)
        for grant in permissions.subscribe.allow
    )


def _has_responses_beside_denies(options: Options) -> bool:
    return any(
        permissions.responses is not None and bool(permissions.publish.deny) for permissions in _permissions(options)
    )


def _has_dated_operator(options: Options) -> bool:
    claims = [_claims(operator.token) for operator in options.operators]
    return any(found.get("exp") or found.get("nbf") for found in claims)


def _claims(token: str) -> dict[str, Any]:
    """What a token says that the start has verified already; nothing where it cannot be read."""
    try:
        return open_unverified(token)
    except JwtError:
        return {}


def _uses_operators(options: Options) -> bool:
    return bool(options.operators or options.trusted_keys)


def _is_watched(options: Options) -> bool:
    return bool(options.monitor.port or options.monitor.https_port)


def _watches(condition: Condition) -> Condition:
    return lambda options: _is_watched(options) and condition(options)


def _exchanges(options: Options) -> bool:
    """Whether accounts may share anything; those of JWTs may."""
    return _uses_operators(options) or any(account.imports or account.exports for account in options.accounts)


def _asks_for_certificates(options: Options) -> bool:
    return options.tls is not None and (options.tls.verify or options.tls.verify_and_map)


def _has_certificates(options: Options) -> bool:
    return options.tls is not None or options.websocket.tls is not None


def _listeners(options: Options) -> list[TLSOptions]:
    return [tls for tls in (options.tls, options.websocket.tls) if tls is not None]


def _asks_responders(options: Options) -> bool:
    return any(tls.ocsp_peer.verify for tls in _listeners(options))


def _has_patient_responders(options: Options) -> bool:
    return any(tls.ocsp_peer.verify and tls.ocsp_peer.timeout > tls.timeout for tls in _listeners(options))


def _asks_responders_beside_monitoring(options: Options) -> bool:
    return bool(options.monitor.https_port) and options.tls is not None and options.tls.ocsp_peer.verify


def _keeps_answers(options: Options) -> bool:
    return _asks_responders(options) and options.ocsp_cache.kind is CacheKind.LOCAL


def _has_several_certificates(options: Options) -> bool:
    staples = options.ocsp.mode is not StapleMode.NEVER
    return staples and any(len(tls.certificates) > 1 for tls in _listeners(options))


def _keeps_messages(options: Options) -> bool:
    return options.jetstream is not None


def _encrypts_streams(options: Options) -> bool:
    streams = options.jetstream
    return streams is not None and bool(streams.key or streams.key_command)


def _restricts_streams(options: Options) -> bool:
    """Whether there are streams, and users who may not have all of them."""
    return _keeps_messages(options) and (_has_permissions(options) or _uses_operators(options))


def _names_responders(options: Options) -> bool:
    return len(options.ocsp.urls) > 1


def _must_staple(options: Options) -> bool:
    return options.ocsp.mode in {StapleMode.ALWAYS, StapleMode.MUST} and bool(_listeners(options))


def _names_tls13_suites(options: Options) -> bool:
    return any(not set(TLS13_SUITES).isdisjoint(tls.cipher_suites) for tls in _listeners(options))


def _orders_curves(options: Options) -> bool:
    return any(len(tls.curve_preferences) > 1 for tls in _listeners(options))


def _leaves_suites_open(options: Options) -> bool:
    return any(not tls.cipher_suites and tls.min_version == "1.2" for tls in _listeners(options))


def _names_broken_suites(options: Options) -> bool:
    return any("_RC4_" in suite or "_3DES_" in suite for tls in _listeners(options) for suite in tls.cipher_suites)


def _verifies_certificates(options: Options) -> bool:
    return any(tls.verify for tls in _listeners(options))


def _has_pid_file(options: Options) -> bool:
    return bool(options.pid_file)


def _account_data(options: Options) -> Iterator[dict[str, Any]]:
    """What the JWT of each account that is loaded beforehand says of the account."""
    found = (_claims(token).get("nats") for token in options.resolver_preload.values())
    return (data for data in found if isinstance(data, dict))


def _has_limit(options: Options, name: str) -> bool:
    """Whether an account that is loaded beforehand has a ceiling of that name."""
    limits = (data.get("limits") for data in _account_data(options))
    found = (one.get(name) for one in limits if isinstance(one, dict))
    return any(isinstance(number, int) and number > 0 for number in found)


def _limits_data(options: Options) -> bool:
    return _has_limit(options, "data")


def _limits_subscriptions(options: Options) -> bool:
    return _has_limit(options, "subs") or any(
        account.limits is not None and account.limits.subscriptions > 0 for account in options.accounts
    )


def _has_scopes_with_queues(options: Options) -> bool:
    """Whether a scoped signing key allows a subscription of a queue group beside a template."""
    for data in _account_data(options):
        for key in data.get("signing_keys") or ():
            template = key.get("template") if isinstance(key, dict) else None
            subscribe = template.get("sub") if isinstance(template, dict) else None
            allow = subscribe.get("allow") if isinstance(subscribe, dict) else None
            entries = [entry for entry in allow or () if isinstance(entry, str)]
            if any(" " in entry.strip() for entry in entries) and any("{{" in entry for entry in entries):
                return True
    return False


def _has_overlapping_mappings(options: Options) -> bool:
    return any(
        overlaps(one.source, other.source)
        for mappings in (options.mappings, *(account.mappings for account in options.accounts))
        for one, other in combinations(mappings, 2)
    )


def _has_single_user(options: Options) -> bool:
    return bool(options.authorization.user)


def _has_permissions(options: Options) -> bool:
    return any(True for _ in _permissions(options))


def _is_traced(options: Options) -> bool:
    return options.logging.trace


def _logs_to_syslog(options: Options) -> bool:
    return not options.logging.log_file and bool(options.logging.syslog or options.logging.remote_syslog)


def _keeps_few_logs(options: Options) -> bool:
    return options.logging.log_max_num > 0


def _limits_handshakes(options: Options) -> bool:
    return options.tls is not None and options.tls.connection_rate_limit > 0


def _has_proxies(options: Options) -> bool:
    return options.proxy_protocol is not None


def _serves_websocket(options: Options) -> bool:
    return bool(options.websocket.port)


def _compresses_websocket(options: Options) -> bool:
    return _serves_websocket(options) and options.websocket.compression


def _pins_websocket(options: Options) -> bool:
    tls = options.websocket.tls
    return _serves_websocket(options) and tls is not None and bool(tls.pinned_certs)


def _serves_web_over_tls(options: Options) -> bool:
    return bool(options.monitor.https_port) or (_serves_websocket(options) and options.websocket.tls is not None)


def _limits_connections(options: Options) -> bool:
    return options.max_connections not in {Options().max_connections, UNLIMITED}


def _has_callout_block(options: Options) -> bool:
    return options.authorization.callout is not None


def _callouts(options: Options) -> Iterator[dict[str, Any]]:
    """The services that account JWTs name which are loaded beforehand."""
    found = (data.get("authorization") for data in _account_data(options))
    return (one for one in found if isinstance(one, dict) and one.get("auth_users"))


def _has_callout(options: Options) -> bool:
    return _has_callout_block(options) or any(True for _ in _callouts(options))


def _has_encrypted_callout(options: Options) -> bool:
    callout = options.authorization.callout
    return bool(callout and callout.xkey) or any(one.get("xkey") for one in _callouts(options))


def _has_open_callout(options: Options) -> bool:
    return any("*" in (one.get("allowed_accounts") or ()) for one in _callouts(options))


DIFFERENCES: Final = (
    Difference(
        '`subscribe: {allow: "foo.*"}` admits SUB `foo.>`, which then receives `foo.a.b`; `allow: "*"` admits SUB `>`',
        "A subscription must be contained in one allow entry",
        "What was not allowed would be delivered",
        _has_wide_subscriptions,
    ),
    Difference(
        "A response permission opens a reply subject that an explicit deny names",
        "Deny wins",
        "A deny that a client can lift by receiving a message denies nothing",
        _has_responses_beside_denies,
    ),
    Difference(
        'Entries with a queue (`"foo q1"`) vanish from the allow list of a scoped signing key when any entry '
        "of the list holds a template; templates inside such an entry never work",
        "Kept, and expanded like all others",
        "The list means what it says",
        _has_scopes_with_queues,
    ),
    Difference(
        "Permissions are held against the subject of a request to JetStream, and not against what its payload names: "
        "consumers, direct gets, sources and the like read what a deny covers, and publish there",
        "They are held against both, and an answer goes nowhere that a deny covers; refused with 403 and error 19001 "
        "([jetstream.md](jetstream.md#what-a-request-may-reach))",
        "A deny that a payload can get around denies nothing",
        _restricts_streams,
    ),
    Difference(
        "A request to JetStream that comes by way of a reply or deliver subject is fulfilled",
        "Refused: the server asks for nobody",
        "What a client may not ask for it could have the server ask for",
        _restricts_streams,
    ),
    Difference(
        "A `data` limit of an account or user is carried in the claims and not enforced",
        "A connection that has moved more bytes, both ways together, ends with `maximum account data "
        "exceeded`; 0 and an absent number limit nothing, as in the reference",
        "A ceiling that was signed is meant to hold",
        _limits_data,
    ),
    Difference(
        "Above `connection_rate_limit` a connection ends right behind INFO",
        "It ends when its ClientHello arrives",
        "What is counted are handshakes, and only who begins one costs one",
        _limits_handshakes,
    ),
    Difference(
        "`proxy_protocol: true` takes a PROXY header from every address, and a client without one as it is",
        "It trusts loopback, private and link-local addresses, and `proxy_protocol { trusted }` others: from there "
        "a header must come first, from all others none may",
        "Whoever may write a header may be anybody",
        _has_proxies,
    ),
    Difference(
        "INFO goes out before the PROXY header, without `client_ip`",
        "It goes out behind the header, with the client's address",
        "It is known by then",
        _has_proxies,
    ),
    Difference(
        "A PROXY header with a false checksum, or with a line that two readers could understand differently, is "
        "taken; one of 65,551 bytes too",
        "Refused; a header has 4 KiB at most",
        "An address that was garbled is nobody's",
        _has_proxies,
    ),
    Difference(
        "`cipher_suites` chooses among the suites of TLS 1.2 alone; those of 1.3 that it names mean nothing",
        "Where it names some of 1.3, no others are used",
        "What is named is meant",
        _names_tls13_suites,
    ),
    Difference(
        "The order of `curve_preferences` means nothing",
        "It is the order of preference",
        "As its name says",
        _orders_curves,
    ),
    Difference(
        "Without `cipher_suites`, clients of TLS 1.2 may use CBC",
        "Only suites with authenticated encryption",
        "CBC is secure only by an extension that older clients lack (RFC 7366)",
        _leaves_suites_open,
    ),
    Difference(
        "Suites with RC4 or 3DES can be allowed",
        "Beside others they are left out, and alone they are refused",
        "OpenSSL has none of them",
        _names_broken_suites,
    ),
    Difference(
        "A session resumes with the certificate that the client showed once",
        "Where certificates are verified each handshake is a full one",
        "One that has expired or was revoked must not come back by a ticket",
        _verifies_certificates,
    ),
    Difference(
        "A frame that must not be ends the connection without a word",
        "A close frame with code 1002 says what was wrong (RFC 6455, section 7.1.7); a session that ends is "
        "told why in its close frame too",
        "Who is closed must be able to learn why",
        _serves_websocket,
    ),
    Difference(
        "`handshake_timeout` is no limit unless it is set, and none for the handshake of TLS",
        "10 s, and 2 s for the handshake of TLS as on the clients' port",
        "A stranger who says nothing must not hold a connection for ever",
        _serves_websocket,
    ),
    Difference(
        "A request that is refused leaves the connection open for another",
        "It ends, and `/connz?state=closed` shows it with the reason `Protocol Violation`",
        "Nothing else is served there",
        _serves_websocket,
    ),
    Difference(
        "A compressed message may inflate to `max_payload` bytes, all that it carries together",
        "To eight times as many, as it may have compressed; both are 64 KiB before login",
        "A client may send its largest message compressed, and a stranger no large one",
        _serves_websocket,
    ),
    Difference(
        "The path `/leafnode` is upgraded and then closed",
        "404, as `/mqtt`",
        "What is not there is not found",
        _serves_websocket,
    ),
    Difference(
        "`permessage-deflate` is agreed to whatever the offer asks for besides",
        "Only to what is kept: an offer with a smaller window for what the server sends, or with what is not in RFC "
        "7692, goes without",
        "The client could not inflate what it gets (RFC 7692, section 5.1)",
        _compresses_websocket,
    ),
    Difference(
        "`pinned_certs` of the WebSocket port are looked at only in a reload",
        "At every handshake",
        "A key that is not pinned must not get in",
        _pins_websocket,
    ),
    Difference(
        "HTTP/1.0 is taken, and of several `Origin` headers the first",
        "400, or 403",
        "What two readers could understand differently is refused",
        _serves_websocket,
    ),
    Difference(
        "`exp` and `nbf` of the operator's own JWT are not looked at",
        "No login under an operator that is expired or not yet valid; connections end with `Account Authentication "
        "Expired` when it expires",
        "A date that its holder signed and that is then ignored protects nobody",
        _has_dated_operator,
    ),
    Difference(
        "Users of the configuration that prove themselves are asked about too, unless `auth_users` names "
        "them; so is whoever gives a wrong password for one",
        "Users of the configuration come first: nobody is asked about a client that names one of them, or "
        "that its certificate names",
        "Who may get in when the service is down must not be left to the service",
        _has_callout_block,
    ),
    Difference(
        "Nobody checks who signed an answer, only who signed the user in it; with an operator an encrypted "
        "answer, or one with the right `issuer_account`, is not checked either",
        "The issuer signs both, with an operator the account or one of its signing keys",
        "Another's word is no answer",
        _has_callout,
    ),
    Difference(
        "Where requests are encrypted an answer may be in the clear",
        "It must be encrypted",
        "It holds a user that others could try to be",
        _has_encrypted_callout,
    ),
    Difference(
        "`allowed_accounts` names the accounts whose users are asked about; users may be put in any account",
        "Users may be put in these, or in the service's own; without a list in all but the system account",
        "Who is in the system account sees everything",
        _has_callout_block,
    ),
    Difference(
        "`allowed_accounts: *` of an account JWT holds for the system account too",
        "The system account must be named",
        "As above",
        _has_open_callout,
    ),
    Difference(
        "`src` of the user in an answer is not looked at, nor whether it is revoked",
        "Both are",
        "A claim that was signed is meant to hold",
        _has_callout,
    ),
    Difference(
        "With an operator a client is asked about that has not signed with the key of its own JWT",
        "Its JWT must be good by itself first",
        "The JWT says which account is to be asked",
        _has_callout,
    ),
    Difference(
        "Where nobody serves the requests, a login is refused after `timeout`",
        "At once",
        "No answer can come",
        _has_callout,
    ),
    Difference(
        "Users of the service's account may subscribe to `$SYS.REQ.USER.AUTH`",
        "Only those that `auth_users` names",
        "Requests hold passwords",
        _has_callout,
    ),
    Difference(
        "A nonce is sent only where the configuration has nkeys",
        "Always",
        "The service can verify what a client signed",
        _has_callout_block,
    ),
    Difference(
        "A service that is not defined, or whose users are not, is an error in the log",
        "The server does not start",
        "Nobody could ever log in",
        _has_callout_block,
    ),
    Difference(
        "Who imports all that the account of a callout exports hears its requests too, and a trace of the service "
        "shows them",
        "Neither does",
        "They hold the passwords of all logins",
        _has_callout,
    ),
    Difference(
        "`auth_callout` is not reloaded, and those that it admitted stay when it is taken out of the "
        "account's JWT",
        "It is reloaded; who was admitted goes when the issuer, the service or its right to the account does",
        "A change of who decides is meant to hold",
        _has_callout,
    ),
    Difference(
        "Answers every HTTP method",
        "`GET` and `HEAD`; 405 for all others",
        "Monitoring changes nothing, and a page of another origin must not seem to",
        _is_watched,
    ),
    Difference(
        "`/connz?auth=1` shows the JWT of a login that failed",
        "The JWT of who was verified, and never a bearer token",
        "An unverified token may be somebody's credential for another server",
        _watches(_uses_operators),
    ),
    Difference(
        "`tls_peer_certs` holds the peer's whole chain",
        "The peer's own certificate, the first of the chain",
        "It is the one that identifies",
        _watches(_asks_for_certificates),
    ),
    Difference(
        "Remembers all subscriptions of a closed connection",
        "Their number, and the first 100 as far as they fit into 16 KiB",
        "Ten thousand closed connections must not keep what millions of subscriptions held",
        _is_watched,
    ),
    Difference(
        "`/subsz` and `/accountz` list and count what importers of a stream have subscribed "
        "to with the exporting account too",
        "With their own account only",
        "Who listens is no business of whoever is listened to",
        _watches(_exchanges),
    ),
    Difference(
        "`/accountz` shows the reply subjects of requests under way as `responses`",
        "It does not",
        "Whoever knows one can answer in another's place",
        _watches(_exchanges),
    ),
    Difference(
        "`/accountz` leaves out imports that no export permits",
        "It shows them with `invalid: true`",
        "Whoever looks for them finds out what became of them",
        _watches(_exchanges),
    ),
    Difference(
        "`/accountz` lists accounts in any order",
        "By name",
        "An order left to chance helps nobody",
        _is_watched,
    ),
    Difference(
        "`/ipqueuesz?all=1` lists the queues between threads",
        "`{}`",
        "One thread does it all",
        _is_watched,
    ),
    Difference(
        "`/debug/vars` holds all that Go counts of its memory",
        "`Sys`, `HeapObjects`, `NumGC` and `EnableGC`, which Python counts too",
        "",
        _is_watched,
    ),
    Difference(
        "`/jsz` and `/varz` show no `sync_always` unless it is set",
        "`true`",
        "What is acknowledged is on disk, whatever is set",
        _watches(_keeps_messages),
    ),
    Difference(
        "`/jsz?direct-consumers=1` lists consumers that mirrors and sources have made",
        "Those that others than this server have made",
        "Its own mirrors and sources need none",
        _watches(_keeps_messages),
    ),
    Difference(
        "`/healthz` knows of accounts and streams by their directories, and so of none in memory",
        "It knows of all of them",
        "Asked for what is there, it says so",
        _watches(_keeps_messages),
    ),
    Difference(
        "The pid file stays when the server ends",
        "Removed, unless another process has written its own id there",
        "The id of a process that is gone may soon be a stranger's",
        _has_pid_file,
    ),
    Difference(
        "With overlapping `mappings` chance decides, at every start",
        "The mapping with the most specific source: token by token a literal before `*` before `>`",
        "One file, one meaning",
        _has_overlapping_mappings,
    ),
    Difference(
        "A trace shows the `jwt` of CONNECT, and what follows an escaped quotation mark in a password; a "
        "CONNECT that cannot be read is shown with what looks like a secret blanked",
        "Every secret is blanked, however its name is spelled; what cannot be read is not shown",
        "A reader of logs must not be able to log in",
        _is_traced,
    ),
    Difference(
        "The lines of a refusal end with the subject",
        "They go on with a denial id and the rule that decided",
        "The operator is told why",
        _has_permissions,
    ),
    Difference(
        "A handshake that failed is told with all certificates that the client showed, or with the suites or versions "
        "that it offered; on the WebSocket port as `websocket: TLS handshake error from ADDRESS: …`",
        "With the certificate that was refused and a denial id; as on the clients' port",
        "Who was turned away, and why, is found in one way",
        _has_certificates,
    ),
    Difference(
        "On the WebSocket and monitoring ports, bytes in the clear and handshakes that do not come are errors",
        "Told in debug logs, as on the clients' port",
        "Whoever looks whether a port is open is no failure",
        _serves_web_over_tls,
    ),
    Difference(
        "Who leaves before the first byte of a handshake is an error, closed with `TLS Handshake Failure`",
        "Closed with `Client Closed`",
        "As above: load balancers do it all the time",
        _has_certificates,
    ),
    Difference(
        "`log_max_num` is forgotten when the file is opened anew",
        "It holds",
        "",
        _keeps_few_logs,
    ),
    Difference(
        "A syslog daemon that does not read stops the server",
        "Its lines are counted, dropped and reported",
        "Logging must not end the service",
        _logs_to_syslog,
    ),
    Difference(
        "A message that the server answers with status 503 is not traced",
        "The answer is",
        "It is part of the conversation",
        _is_traced,
    ),
    Difference(
        "Every reload closes the clients of a single `user` and `password`, and those that gave a user name "
        "where nobody is asked for one",
        "They stay while their credentials stand",
        "A reload concerns whom it changes",
        _has_single_user,
    ),
    Difference(
        "Where `max_connections` is lowered, the surplus is picked at random",
        "The newest connections are closed",
        "Who came first was served first",
        _limits_connections,
    ),
    Difference(
        "Where an account's `subs` are lowered, a session that holds just as many as it may is closed",
        "Only one that holds more",
        "What is allowed is no violation",
        _limits_subscriptions,
    ),
    Difference(
        "A changed operator JWT needs a restart",
        "A reload takes it, unless it names another system account, and judges every session by it",
        "Keys of an operator can be rotated without ending a connection",
        lambda options: bool(options.operators),
    ),
    Difference(
        "Another key for encrypted streams needs a restart, and a stream keeps the data key that it began with",
        "A reload takes it, and `nsk rotate data-key` gives an account another data key; each account has one, apart "
        "from its data ([jetstream.md](jetstream.md#changing-keys))",
        "Keys that cannot change are not changed",
        _encrypts_streams,
    ),
    Difference(
        "A certificate is read again on a reload only, and taken whatever it is good for",
        "Its files are watched; another one is taken when it is valid, complete and good for the names that are "
        "served, and else refused, the reload with it",
        "A mistake in a file is not to be found out by clients",
        _has_certificates,
    ),
    Difference(
        "The old pid file stays where `pid_file` changes",
        "It goes",
        "As at the end of the server",
        _has_pid_file,
    ),
    Difference(
        "A message is acknowledged when the file system has it; it is synced within `sync_interval`, two minutes "
        "without",
        "When it is on disk",
        "What is acknowledged must outlive the machine",
        _keeps_messages,
    ),
    Difference(
        "`/healthz` names the stream that cannot be written",
        "It says that something cannot be, and the log what",
        "Whoever may ask for the state need not know accounts",
        _watches(_keeps_messages),
    ),
    Difference(
        "An OCSP answer about a client counts whichever certificate it is about, as long as its authority "
        "signed it, and whoever is named to sign may have expired",
        "It must be about the very certificate, and whoever is named must be valid still",
        "Whoever stands between could hand out the answer about another certificate for one that is revoked",
        _asks_responders,
    ),
    Difference(
        "A client whose certificate the first answer calls revoked is told `bad certificate`",
        "Its handshake is over by then, and the connection ends; from the second time on the answer is "
        "known, and it is told `bad certificate`",
        "Nobody else waits while a responder is asked",
        _asks_responders,
    ),
    Difference(
        "Responders are asked about clients by GET, and followed wherever they redirect to",
        "By POST, and by GET where that gives nothing usable; no redirection is followed, and an answer has "
        "64 KiB at most",
        "Only what a verified certificate names is asked",
        _asks_responders,
    ),
    Difference(
        "A client may wait for answers longer than `timeout` of `tls` says, where `ca_timeout` is longer",
        "Never longer than its handshake may take; who has not answered by then cannot be reached",
        "A deadline that something puts off is none",
        _has_patient_responders,
    ),
    Difference(
        "With `ocsp_peer` the HTTPS monitoring port asks for certificates of clients too",
        "It asks for none",
        "Who may look is for `monitor_access` to say",
        _asks_responders_beside_monitoring,
    ),
    Difference(
        "`cache.json` of `ocsp_cache` holds compressed answers",
        "Plain ones; either server leaves out what the other has written, and asks anew",
        "An answer is a few hundred bytes that do not shrink",
        _keeps_answers,
    ),
    Difference(
        "Of several certificates of a listener the first has an OCSP answer stapled to it",
        "Each",
        "Each is shown to somebody",
        _has_several_certificates,
    ),
    Difference(
        "`urls` of `ocsp` ends the start with an error",
        "One responder after the other is asked",
        "It is a documented key",
        _names_responders,
    ),
    Difference(
        "An OCSP answer that cannot be fetched anew is tried for at ever shorter intervals until it ends, "
        "and after that by every handshake",
        "After 5 s, then at intervals that grow to two minutes; after its end handshakes are refused at once",
        "A responder that has trouble needs fewer questions, not more",
        _must_staple,
    ),
    Difference(
        "A reload that finds no OCSP answer about a new certificate, or one that it is revoked, warns and "
        "goes on without stapling",
        "It is refused; a certificate that was renewed in its files is served as soon as there is an answer "
        "about it",
        "What is served is good or is what was served before",
        _must_staple,
    ),
)
"""In the order of docs/differences.md."""
