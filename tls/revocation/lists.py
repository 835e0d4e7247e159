"""Certificate revocation lists (RFC 5280 section 5): read, held against authorities, and searched by serial number.

A list counts for a certificate when the certificate's authority signed it, may sign lists, and the list covers that
certificate. Left out are lists that only change an earlier one (delta CRLs), lists that speak for other authorities
(indirect ones), and lists for some reasons only; none of them may be taken for a whole list, so they are refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509

from tls.certificates import UNREADABLE, extension_of, public_key_bits
from tls.der import INTEGER, SEQUENCE, bounds, elements, sequence
from tls.policy import TLSSettingsError
from tls.revocation.answers import DEFAULT_SKEW, Finding, clock_time
from tls.revocation.signatures import SignatureError, Signed
from tls.served import LONGEST_NOTICE, SHARE_OF_LIFE

_BLOCK: Final = re.compile(rb"-----BEGIN X509 CRL-----\s(.*?)-----END X509 CRL-----", re.DOTALL)
_TIMES: Final = frozenset({0x17, 0x18})
"""Tags of UTCTime and GeneralizedTime."""

REVOKED: Final = "it is revoked"


class RevocationListError(TLSSettingsError):
    """A file that holds no usable list; the text names it and the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """What one list says. Times are Unix seconds."""

    file: str
    issuer: x509.Name
    signed: Signed
    since: float
    until: float
    serials: frozenset[int]
    """Serial numbers that are revoked, or put on hold."""
    key_identifier: bytes | None
    """Of the key that signed it, where that is said."""
    kinds: frozenset[bool]
    """Whether it covers certificates of authorities (True), those of others (False)."""
    places: frozenset[str]
    """Where it is published; it covers the certificates that name one of them. Empty is all."""
    signers: dict[bytes, bool]
    """By public key: whether that signed it, as far as that was found out."""

    def is_by(self, authority: x509.Certificate) -> bool:
        """Whether the holder of a certificate signed it, and may."""
        key = public_key_bits(authority)
        known = self.signers.get(key)
        if known is None:
            known = self.signers[key] = self._is_signed_by(authority)
        return known

    def _is_signed_by(self, authority: x509.Certificate) -> bool:
        identifier = _key_identifier(authority)
        if self.key_identifier is not None and identifier is not None and self.key_identifier != identifier:
            return False
        if not _may_sign_lists(authority):
            return False
        try:
            self.signed.check(authority.public_key())
        except (SignatureError, *UNREADABLE):
            return False
        return True

    def covers(self, certificate: x509.Certificate) -> bool:
        """Whether it says something of a certificate of its authority, be it that this is not revoked."""
        if len(self.kinds) == 1 and _is_authority(certificate) not in self.kinds:
            return False
        return not self.places or not self.places.isdisjoint(_published_at(certificate))

    def is_in_force(self, moment: float, skew: float = DEFAULT_SKEW) -> bool:
        """Whether it is of today, at a Unix time."""
        return self.since - skew <= moment <= self.until + skew

    def is_due(self, moment: float) -> bool:
        """Whether the next one should have come: its last sixth has begun, or the last week."""
        return moment >= self.until - min(LONGEST_NOTICE, (self.until - self.since) / SHARE_OF_LIFE)


class RevocationLists:
    """Several lists together."""

    def __init__(self, lists: Iterable[RevocationList] = ()) -> None:
        self.lists = tuple(lists)
        self._by_issuer: dict[x509.Name, list[RevocationList]] = {}
        for one in self.lists:
            self._by_issuer.setdefault(one.issuer, []).append(one)

    def problem_of(
        self, certificate: x509.Certificate, authority: x509.Certificate, moment: float, *, lenient: bool = False
    ) -> str:
        """Why a certificate is not to be accepted, nothing where it is; its authority is the one that issued it.

        What any list of the authority revokes is revoked, be the list of today or not. Otherwise one of them must be
        in force that covers the certificate; ``lenient`` does without. Raises CertificateFormatError.
        """
        covering = [
            one
            for one in self._by_issuer.get(authority.subject, ())
            if one.covers(certificate) and one.is_by(authority)
        ]
        if any(certificate.serial_number in one.serials for one in covering):
            return REVOKED
        if lenient or any(one.is_in_force(moment) for one in covering):
            return ""
        name = authority.subject.rfc4514_string()
        if not covering:
            return f"there is no CRL of {name} for it"
        latest = max(covering, key=lambda one: one.until)
        if moment < latest.since:
            return f"the CRL of {name} begins at {clock_time(latest.since)}"
        return f"the CRL of {name} ended at {clock_time(latest.until)}"

    def problem_in(
        self, chain: Sequence[x509.Certificate], moment: float, *, lenient: bool = False
    ) -> Finding | None:
        """The first certificate of a verified chain that is not to be accepted, with the reason; None where all are.

        The chain begins with the peer's own; its last certificate is trusted as it stands. Raises
        CertificateFormatError.
        """
        for certificate, authority in pairwise(chain):
            problem = self.problem_of(certificate, authority, moment, lenient=lenient)
            if problem:
                return Finding(tuple(chain), certificate, problem)
        return None


    def revoked_in(self, chain: Sequence[x509.Certificate]) -> Finding | None:
        """The first certificate of a verified chain that is revoked; None where none is, whatever else is lacking."""
        return self.problem_in(chain, 0.0, lenient=True)


def read_lists(contents: Mapping[str, bytes | None]) -> RevocationLists:
    """The lists of several files, each with one or more in PEM or one in DER; may run in a thread.

    ``contents`` are what the files hold, None for one that cannot be read. Raises RevocationListError.
    """
    found: list[RevocationList] = []
    for file, content in contents.items():
        if content is None:
            raise RevocationListError(f"open {file}: the CRL file cannot be read; correct crl_files or its permissions")
        for der in _ders(file, content):
            try:
                found.append(_read(file, der))
            except RevocationListError:
                raise
            except UNREADABLE as error:
                raise RevocationListError(
                    f"{file} holds no CRL that can be read: {error}; fetch it anew from the authority"
                ) from None
    return RevocationLists(found)


def _ders(file: str, content: bytes) -> Iterator[bytes]:
    if content[:1] == b"\x30":
        yield content
        return
    blocks = _BLOCK.findall(content)
    if not blocks:
        raise RevocationListError(f"{file} holds no CRL; put one there, in PEM (BEGIN X509 CRL) or DER")
    for block in blocks:
        try:
            yield base64.b64decode(b"".join(block.split()), validate=True)
        except binascii.Error as error:
            raise RevocationListError(
                f"{file} holds no CRL that can be read: {error}; fetch it anew from the authority"
            ) from None


def _read(file: str, der: bytes) -> RevocationList:
    tbs, entries = _parts(der)
    # The library would make an object of each entry, and not let go of the interpreter meanwhile.
    outline = x509.load_der_x509_crl(_without_entries(der, tbs, entries))
    if outline.next_update_utc is None:
        raise RevocationListError(f"the CRL in {file} does not say when the next one comes (RFC 5280, 5.1.2.5)")
    kinds, places = _scope(file, outline)
    try:
        identifier = outline.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        identifier = None
    return RevocationList(
        file=file,
        issuer=outline.issuer,
        signed=Signed(
            outline.signature,
            der[tbs[0] : tbs[2]],
            outline.signature_hash_algorithm,
            outline.signature_algorithm_parameters,
        ),
        since=outline.last_update_utc.timestamp(),
        until=outline.next_update_utc.timestamp(),
        serials=_serials(der, entries),
        key_identifier=identifier,
        kinds=kinds,
        places=places,
        signers={},
    )


Part = tuple[int, int, int]


def _parts(der: bytes) -> tuple[Part, Part | None]:
    """Where what is signed stands, and where the entries do; a list without any leaves them out."""
    begin, end = bounds(der, 0)
    if end != len(der):
        raise ValueError("something follows it")
    tbs = next(elements(der, begin, end), None)
    if tbs is None:
        raise ValueError("it is empty")
    before = 0
    for part in elements(der, tbs[1], tbs[2]):
        tag = der[part[0]]
        if tag == SEQUENCE and before in _TIMES:
            return tbs, part
        before = tag
    return tbs, None


def _without_entries(der: bytes, tbs: Part, entries: Part | None) -> bytes:
    if entries is None:
        return der
    rest = der[tbs[2] :]
    return sequence(sequence(der[tbs[1] : entries[0]], der[entries[2] : tbs[2]]), rest)


def _serials(der: bytes, entries: Part | None) -> frozenset[int]:
    """The serial number of each entry. Lists have up to millions, so there is no call for each."""
    found: set[int] = set()
    if entries is None:
        return frozenset()
    _, at, stop = entries
    while at < stop:
        size = der[at + 1]
        content, after = (at + 2, at + 2 + size) if size < 0x80 else bounds(der, at)
        length = der[content + 1] if content + 1 < after else 0x80
        end = content + 2 + length
        if der[at] != SEQUENCE or der[content] != INTEGER or length >= 0x80 or end > after or after > stop:
            raise ValueError("an entry does not begin with a serial number")
        found.add(int.from_bytes(der[content + 2 : end], "big", signed=True))
        at = after
    return frozenset(found)


def _scope(file: str, outline: x509.CertificateRevocationList) -> tuple[frozenset[bool], frozenset[str]]:
    """What certificates it covers. Raises RevocationListError for what covers none of them wholly."""
    kinds, places = frozenset({True, False}), frozenset[str]()
    for extension in outline.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise RevocationListError(f"the CRL in {file} is a delta CRL; name a complete one")
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                raise RevocationListError(
                    f"the CRL in {file} is indirect, for attribute certificates or for some reasons only; name a "
                    "complete one of the authority itself"
                )
            if value.only_contains_ca_certs or value.only_contains_user_certs:
                kinds = frozenset({value.only_contains_ca_certs})
            if value.relative_name is not None:
                raise RevocationListError(f"the CRL in {file} is published under a relative name; name a complete one")
            places = frozenset(_uris(value.full_name or ()))
            if value.full_name and not places:
                raise RevocationListError(f"the CRL in {file} is published at no URI; name a complete one")
        elif extension.critical and not isinstance(value, x509.CRLNumber | x509.AuthorityKeyIdentifier):
            raise RevocationListError(
                f"the CRL in {file} has a critical extension ({extension.oid.dotted_string}) that is not known here; "
                "name one without it"
            )
    return kinds, places


def _uris(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    return (name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))


def _published_at(certificate: x509.Certificate) -> set[str]:
    points = extension_of(certificate, x509.CRLDistributionPoints) or ()
    return {uri for point in points for uri in _uris(point.full_name or ())}


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _may_sign_lists(authority: x509.Certificate) -> bool:
    usage = extension_of(authority, x509.KeyUsage)
    return usage is None or usage.crl_sign


def _key_identifier(authority: x509.Certificate) -> bytes | None:
    identifier = extension_of(authority, x509.SubjectKeyIdentifier)
    return None if identifier is None else identifier.key_identifier
