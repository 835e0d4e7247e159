"""The names that people type for certificates: hosts, addresses, URIs, e-mail addresses, subjects; and what a CA may
vouch for (name constraints, RFC 5280 section 4.2.1.10)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from auth.gojson import quote
from tools.nsk.errors import NskError

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LONGEST_HOST: Final = 253


def dns_name(text: str) -> x509.DNSName:
    """A host name, or ``*.`` and one. Raises NskError."""
    name = text.lower()
    if not _HOST.fullmatch(name.removeprefix("*.")) or len(name) > _LONGEST_HOST:
        what = "write names beyond ASCII in their xn-- form" if not text.isascii() else "such as nats.example.com"
        raise NskError(f"{quote(text)} is no host name", remedy=what)
    if re.fullmatch(r"[0-9.]+", name):
        raise NskError(f"{quote(text)} is an address, not a host name", remedy=f"--ip {text}")
    return x509.DNSName(name)


def ip_address(text: str) -> x509.IPAddress:
    """An IPv4 or IPv6 address, without a zone, which means nothing elsewhere. Raises NskError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text.replace("%", " ")))
    except ValueError:
        raise NskError(f"{quote(text)} is no IP address", remedy="such as 127.0.0.1 or ::1") from None


def uri(text: str) -> x509.UniformResourceIdentifier:
    """A URI with a scheme. Raises NskError."""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = None
    if parts is None or not parts.scheme or not (parts.netloc or parts.path) or not _is_plain(text):
        raise NskError(f"{quote(text)} is no URI", remedy="such as spiffe://example.com/app")
    return x509.UniformResourceIdentifier(text)


def email(text: str) -> x509.RFC822Name:
    """An e-mail address. Raises NskError."""
    local, at, host = text.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or not _HOST.fullmatch(host.lower()):
        raise NskError(f"{quote(text)} is no e-mail address", remedy="such as app@example.com")
    return x509.RFC822Name(text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def subject(text: str) -> x509.Name:
    """A distinguished name in the form of RFC 4514, such as ``CN=app,O=Example``. Raises NskError."""
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError as problem:
        raise NskError(f"{quote(text)} is no subject: {problem}", remedy="such as CN=app,OU=Orders,O=Example") from None
    if not list(name):
        raise NskError("a subject has at least one part", remedy="such as CN=app")
    return name


def common_name(text: str, organization: str = "") -> x509.Name:
    """A subject of a name, and an organization where there is one. Raises NskError."""
    try:
        above = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        return x509.Name([*above, x509.NameAttribute(NameOID.COMMON_NAME, text)])
    except ValueError as problem:
        raise NskError(f"{quote(text)} cannot be a name in a certificate: {problem}", remedy="choose another") from None


def file_name(text: str, reserved: Iterable[str]) -> str:
    """The name of a certificate, which is that of its files. Raises NskError."""
    name = text.strip()
    taken = name in reserved or name.endswith(("-key", "-crl")) or name.endswith(".pem")
    if not name or taken or not _FILE_NAME.fullmatch(name):
        why = "is kept for the CA's own files" if taken else "cannot name files"
        raise NskError(
            f"{quote(text)} {why}", remedy="choose a name of letters, digits, dots and dashes, such as app or nats-1"
        )
    return name


# Name constraints.


def network(text: str) -> x509.IPAddress:
    """A network, or an address as a network of its own. Raises NskError."""
    try:
        return x509.IPAddress(ipaddress.ip_network(text))
    except ValueError:
        raise NskError(f"{quote(text)} is no network", remedy="such as 10.0.0.0/8, or one address") from None


def domain(text: str) -> x509.DNSName:
    """A domain, which stands for all hosts below it as well. Raises NskError."""
    return dns_name(text.removeprefix("*.").removeprefix("."))


def mail_domain(text: str) -> x509.RFC822Name:
    """The host of e-mail addresses, or one address. Raises NskError."""
    if "@" in text:
        return email(text)
    return x509.RFC822Name(dns_name(text).value)


def refuse_outside(names: Iterable[x509.GeneralName], issuers: Iterable[x509.Certificate]) -> None:
    """Refuse names that the constraints of a CA leave out, since every client would refuse them. Raises NskError."""
    wanted = list(names)
    for issuer in issuers:
        try:
            found = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        permitted = list(found.permitted_subtrees or ())
        for name in wanted:
            same = [one for one in permitted if type(one) is type(name)]
            if same and not any(_is_inside(name, one) for one in same):
                allowed = ", ".join(shown(same))
                raise NskError(
                    f"the CA may not vouch for {quote(value(name))}: its constraints allow {allowed}",
                    remedy="name one of these, or make another CA: nsk pki init --dir <directory>",
                )


def _is_inside(name: x509.GeneralName, area: x509.GeneralName) -> bool:
    if isinstance(name, x509.IPAddress) and isinstance(area, x509.IPAddress):
        return name.value in area.value if not isinstance(area.value, _ADDRESSES) else name.value == area.value
    held, allowed = value(name).lower(), value(area).lower()
    if isinstance(name, x509.DNSName):
        return held.removeprefix("*.") == allowed or held.endswith(f".{allowed}")
    if isinstance(name, x509.RFC822Name):
        return held == allowed or ("@" not in allowed and held.rpartition("@")[2] == allowed)
    return True


_ADDRESSES: Final = (ipaddress.IPv4Address, ipaddress.IPv6Address)


# For people.


def value(name: x509.GeneralName) -> str:
    """A name as it is typed."""
    return str(name.value)


_KINDS: Final[dict[type[x509.GeneralName], str]] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.UniformResourceIdentifier: "uri",
    x509.RFC822Name: "email",
}


def shown(names: Iterable[x509.GeneralName]) -> list[str]:
    """Names with what they are before them: ``dns:localhost``."""
    return [f"{_KINDS.get(type(name), 'other')}:{value(name)}" for name in names]


def of_kind(names: Sequence[x509.GeneralName], kind: type[x509.GeneralName]) -> Iterator[str]:
    """The values of the names of one kind."""
    return (value(name) for name in names if isinstance(name, kind))
