"""``pki init|server|client|renew``: a CA, and certificates for servers and clients."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.commands import PKI_FLAGS
from tools.nsk.commands.pki_shared import (
    NEAR,
    WHEN,
    folder_of,
    homes_of,
    life_of,
    program_of,
    quoted,
    quoted_path,
)
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, strings, text
from tools.nsk.pki import names as read
from tools.nsk.pki.folder import AUTHORITY, ISSUERS, Folder
from tools.nsk.pki.issue import Pair, Request, Role, is_root
from tools.nsk.pki.look import Certificates, one_state
from tools.nsk.pki.manage import add, begin, renew
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.values import format_date

_AUTHORITY_LIFE: Final = "10y"
_LEAF_LIFE: Final = "90d"
_SERVER: Final = "server"
_LOOPBACK: Final = (read.dns_name("localhost"), read.ip_address("127.0.0.1"), read.ip_address("::1"))


# What is typed.


def _new_homes(session: Session, flags: Flags) -> tuple[Path, ...]:
    """Where a new PKI is to be. What is wrong with its flags is found before its directory is made."""
    _authority_request(flags)
    return (folder_of(session, flags).directory,)


def _typed_names(flags: Flags) -> tuple[x509.GeneralName, ...]:
    found: list[x509.GeneralName] = []
    for flag, parse in (("dns", read.dns_name), ("ip", read.ip_address), ("uri", read.uri), ("email", read.email)):
        found += [parse(given) for given in flags.strings(flag)]
    return tuple(dict.fromkeys(found))


def _leaf_request(flags: Flags, name: str, role: Role, names: tuple[x509.GeneralName, ...]) -> Request:
    given = flags.text("subject")
    return Request(
        role=role,
        subject=read.subject(given) if given else read.common_name(name),
        lifetime=life_of(flags, default=_LEAF_LIFE),
        names=names,
        ocsp_urls=tuple(read.uri(url).value for url in flags.strings("ocsp-url")),
        crl_urls=tuple(read.uri(url).value for url in flags.strings("crl-url")),
        must_staple=role is not Role.CLIENT and flags.boolean("must-staple"),
    )


# init


def _authority_request(flags: Flags) -> Request:
    permitted: list[x509.GeneralName] = []
    for flag, parse in (
        ("permit-dns", read.domain),
        ("permit-ip", read.network),
        ("permit-email", read.mail_domain),
    ):
        permitted += [parse(given) for given in flags.strings(flag)]
    return Request(
        role=Role.AUTHORITY,
        subject=read.common_name(flags.text("name"), flags.text("organization")),
        lifetime=life_of(flags, default=_AUTHORITY_LIFE),
        path_length=1 if flags.boolean("intermediate") else 0,
        permitted=tuple(permitted),
    )


def _init(session: Session, flags: Flags) -> Certificates:
    folder, request, report = folder_of(session, flags), _authority_request(flags), Report()
    below = None
    if flags.boolean("intermediate"):
        below = read.common_name(f"{flags.text('name')} intermediate", flags.text("organization"))
    begin(folder, request, below)
    for name in folder.names():
        _report_made(folder, name, report, "made")
    authority = folder.certificate_path(AUTHORITY)
    report.message(f"whoever connects trusts `{authority}`, and needs no other file of this directory")
    if below is not None:
        report.message(
            f"`{folder.key_path(AUTHORITY)}` is needed for the intermediate CA alone: it can be kept elsewhere"
        )
    report.message(
        "a certificate for a server, and one for a client:\n"
        f"  {program_of(session, flags)} server {_example(request)}\n"
        f"  {program_of(session, flags)} client app --email app@example.com"
    )
    session.finish(report)
    return _made(folder, folder.names())


def _example(request: Request) -> str:
    """Names that a CA may vouch for, as flags."""
    hosts = list(read.of_kind(request.permitted, x509.DNSName))
    return f"--dns nats.{hosts[0]}" if hosts else "--dns localhost --ip 127.0.0.1"


def _report_made(folder: Folder, name: str, report: Report, verb: str, added: str = "") -> None:
    state = one_state(folder, name, datetime.now(UTC))
    names = f" for {', '.join(state.names)}" if state.names else ""
    report.ok(f"{verb} {quote(name)} ({state.kind}){names}, valid until {format_date(state.not_after)}{added}")


def _made(folder: Folder, names: Iterable[str]) -> Certificates:
    now = datetime.now(UTC)
    return Certificates(str(folder.directory), [one_state(folder, name, now) for name in names])


# server, client


def _server(session: Session, flags: Flags) -> Certificates:
    folder = folder_of(session, flags)
    name = folder.check_name(flags.name() or _SERVER)
    role = Role.PEER if flags.boolean("peer") else Role.SERVER
    names = _typed_names(flags) or _LOOPBACK
    if not any(isinstance(one, (x509.DNSName, x509.IPAddress)) for one in names):
        raise NskError("clients look for a host name or an address in it", remedy="name one: --dns or --ip")
    pair, report = _add(folder, flags, name, _leaf_request(flags, name, role, names))
    certificate, key = folder.certificate_path(name), folder.key_path(name)
    report.message(
        "in the configuration of the server, with verify or verify_and_map where clients show certificates:\n"
        f"  tls {{ cert_file: {quoted_path(certificate)}, key_file: {quoted_path(key)} }}\n"
        f"  tls {{ cert_file: {quoted_path(certificate)}, key_file: {quoted_path(key)}, "
        f"ca_file: {quoted_path(folder.certificate_path(AUTHORITY))}, verify_and_map: true }}\n"
        "or on its command line:\n"
        f"  natskeep --tls --tlscert {shlex.quote(str(certificate))} --tlskey {shlex.quote(str(key))}"
    )
    _tell_of_end(folder, pair, report)
    session.finish(report)
    return _made(folder, [name])


def _client(session: Session, flags: Flags) -> Certificates:
    folder = folder_of(session, flags)
    given = flags.name()
    if not given:
        raise NskError("a client certificate needs a name", remedy="such as: nsk pki client app")
    name = folder.check_name(given)
    pair, report = _add(folder, flags, name, _leaf_request(flags, name, Role.CLIENT, _typed_names(flags)))
    who = _mapped_name(pair.certificate)
    certificate, key = folder.certificate_path(name), folder.key_path(name)
    report.message(
        f"a server with verify_and_map knows its holder as the user\n  {{ user: {quoted(who)} }}\n"
        "who connects with it:\n"
        f"  {session.output.program} tool sub --ca-cert {shlex.quote(str(folder.certificate_path(AUTHORITY)))} "
        f"--client-cert {shlex.quote(str(certificate))} --client-key {shlex.quote(str(key))} '>'"
    )
    _tell_of_end(folder, pair, report)
    session.finish(report)
    return _made(folder, [name])


def _add(folder: Folder, flags: Flags, name: str, request: Request) -> tuple[Pair, Report]:
    pair, report = add(folder, name, request, replaces=flags.boolean("force")), Report()
    _report_made(folder, name, report, "issued")
    return pair, report


def _mapped_name(certificate: x509.Certificate) -> str:
    """What ``verify_and_map`` finds first: an e-mail address, a DNS name, a URI, or else the subject."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    for kind in (x509.RFC822Name, x509.DNSName, x509.UniformResourceIdentifier):
        for found in read.of_kind(list(names), kind):
            return found
    return certificate.subject.rfc4514_string()


def _tell_of_end(folder: Folder, pair: Pair, report: Report) -> None:
    """Warn where a certificate could not be given all the time that was asked for."""
    issuer = folder.certificates(folder.issuer_name)[0]
    if not is_root(pair.certificate) and pair.certificate.not_valid_after_utc == issuer.not_valid_after_utc:
        report.warn(f"it ends with its CA: nsk pki renew {folder.issuer_name} gives that more time")


# renew


def _renew(session: Session, flags: Flags) -> Certificates:
    folder, report, now = folder_of(session, flags), Report(), datetime.now(UTC)
    if bool(flags.arguments) == flags.boolean("all"):
        raise NskError("name the certificates to renew, or give --all", remedy="nsk pki list shows what there is")
    names = list(flags.arguments) or [name for name in folder.names() if name not in ISSUERS]
    life = life_of(flags) if flags.given("valid-for") else None
    near = life_of(flags, "if-expires-within") if flags.given("if-expires-within") else None
    made = []
    for name in names:
        end = folder.certificates(name)[0].not_valid_after_utc
        if near is not None and end > now + near:
            report.ok(f"{quote(name)} is valid until {format_date(int(end.timestamp()))}, and stays")
            continue
        pair = renew(folder, name, keep_key=flags.boolean("keep-key"), lifetime=life)
        made.append(name)
        key = "its key" if flags.boolean("keep-key") or name in ISSUERS else "a new key"
        _report_made(folder, name, report, "renewed", f", with {key}")
        _tell_of_end(folder, pair, report)
        if name == AUTHORITY:
            report.message(
                f"whoever trusts the CA gets `{folder.certificate_path(AUTHORITY)}` anew before the old ends"
            )
    _warn_of_issuers(folder, names, near, now, report)
    if not names:
        report.ok("there is no certificate but those of CAs")
    session.finish(report)
    return _made(folder, made)


def _warn_of_issuers(folder: Folder, names: list[str], near: timedelta | None, now: datetime, report: Report) -> None:
    """CAs are renewed by name only, so who renews all others is told when their time comes."""
    for name in folder.issuers:
        end = folder.certificates(name)[0].not_valid_after_utc
        if name not in names and near is not None and end <= now + near:
            report.warn(f"the CA {quote(name)} ends at {format_date(int(end.timestamp()))}: nsk pki renew {name}")


# The table.


_NAME_FLAGS = (
    strings("dns", "", "host names in it, *.example.com for all of a domain", told=False),
    strings("ip", "", "addresses in it", told=False),
    strings("uri", "", "URIs in it", told=False),
    strings("email", "", "e-mail addresses in it", told=False),
    text("subject", "", "its subject, such as CN=app,OU=Orders,O=Example; CN and its name unless given"),
    text("valid-for", "", f"how long it is valid: {WHEN}", default=_LEAF_LIFE),
    strings("ocsp-url", "", "where an OCSP responder tells of it", told=False),
    strings("crl-url", "", "where the CRL is published", told=False),
    boolean("force", "F", "make it anew with other names where there is one"),
)

INIT = Command(
    "init",
    "Make a CA for a development or a fleet of one's own, and with --intermediate another one below it that issues.\n"
    "With --permit flags it can vouch for nothing else, whoever has its key.",
    _init,
    (
        text("name", "n", "name of the CA", default="natskeep CA"),
        text("organization", "", "organization in its subject"),
        text("valid-for", "", f"how long it is valid: {WHEN}", default=_AUTHORITY_LIFE),
        boolean("intermediate", "", "make an intermediate CA too"),
        strings("permit-dns", "", "domains that it may vouch for, with all hosts below them", told=False),
        strings("permit-ip", "", "networks that it may vouch for", told=False),
        strings("permit-email", "", "hosts of e-mail addresses that it may vouch for", told=False),
    ),
    group_flags=PKI_FLAGS,
    changes=True,
    homes=_new_homes,
    examples="    nsk pki init\n    nsk pki init --dir lab --intermediate --permit-dns lab.example.com",
    result=Certificates,
)
SERVER = Command(
    "server",
    "Issue a certificate for a server, called server unless a name is given: for localhost unless hosts are named.",
    _server,
    (
        text("name", "n", "name of the certificate and its files"),
        *_NAME_FLAGS,
        boolean("peer", "", "for servers that dial others as well, as routes and leaf nodes do"),
        boolean("must-staple", "", "the server has to show an OCSP response with it"),
    ),
    group_flags=PKI_FLAGS,
    arguments=(0, 1),
    changes=True,
    homes=homes_of,
    examples="    nsk pki server\n    nsk pki server nats-1 --dns nats.example.com --ip 10.0.0.7",
    result=Certificates,
)
CLIENT = Command(
    "client",
    "Issue a certificate for a client. Servers with verify_and_map know its holder by an e-mail address in it, a host\n"
    "name, a URI, or its subject.",
    _client,
    (text("name", "n", "name of the certificate and its files"), *_NAME_FLAGS),
    group_flags=PKI_FLAGS,
    arguments=(0, 1),
    changes=True,
    homes=homes_of,
    examples="""\
    nsk pki client app --email app@example.com
    nsk pki client web --subject CN=web,OU=Orders,O=Example""",
    result=Certificates,
)
RENEW = Command(
    "renew",
    "Make certificates anew, with all that they say and new keys. CAs keep their keys, and are renewed by name only:\n"
    "ca, intermediate.",
    _renew,
    (
        boolean("all", "A", "all certificates but those of CAs"),
        NEAR,
        boolean("keep-key", "", "keep the key"),
        text("valid-for", "", f"how long it is valid, as long as before unless given: {WHEN}"),
    ),
    group_flags=PKI_FLAGS,
    arguments=(0, 1000),
    changes=True,
    homes=homes_of,
    examples="    nsk pki renew server\n    nsk pki renew --all --if-expires-within 30d",
    result=Certificates,
)
