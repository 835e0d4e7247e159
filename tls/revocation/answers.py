"""Questions to OCSP responders and what they answer (RFC 6960), read and verified before anybody acts on it.

An answer counts only when it is about the very certificate, is signed by its authority or by somebody whom the
authority has named for that, and when its time is now. Whoever stands between server and responder can so withhold an
answer, or hand out an older one that still holds, but nothing else.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

from tls.certificates import UNREADABLE, extension_of, public_key_bits
from tls.identity import CertificateFormatError
from tls.revocation.signatures import SignatureError, Signed, check_issued

DEFAULT_SKEW: Final = 30.0
"""Seconds by which clocks may differ where nothing else is said."""

_LONGEST_SHOWN: Final = 512
_MOST_STATUSES: Final = 64
"""Certificates that one answer may be about; questions are about one."""


class AnswerError(Exception):
    """What came is no answer to act on; the text says why."""


class DelegationError(AnswerError):
    """Somebody signed whom the authority has not named."""


class OutOfDateError(AnswerError):
    """It is of another time."""


class UnreachableError(Exception):
    """No responder gave an answer; the text says what became of each."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a peer is refused."""

    chain: tuple[x509.Certificate, ...]
    """Its verified certificates, its own first."""
    certificate: x509.Certificate
    """The one of them that is at fault."""
    reason: str
    is_ocsp: bool = False
    """Whether an OCSP responder said so, or said nothing."""

    @property
    def subject(self) -> str:
        """Whose certificate that is, as a log may hold it."""
        return subject_of(self.certificate)


class CertificateStatus(Enum):
    """What an answer says of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


_STATUSES: Final = {
    ocsp.OCSPCertStatus.GOOD: CertificateStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED: CertificateStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: CertificateStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says of one certificate, verified. Times are Unix seconds."""

    der: bytes
    """The whole of it, as it came."""
    status: CertificateStatus
    since: float
    """When it was known to be so."""
    until: float | None
    """By when there will be a newer answer; None where that is left open."""

    def problem_at(self, moment: float, skew: float = DEFAULT_SKEW, default_validity: float | None = None) -> str:
        """Why it does not hold at a Unix time, nothing where it does.

        ``default_validity`` are the seconds that an answer holds which leaves its end open; None is for ever.
        """
        if self.since > moment + skew:
            return f"its thisUpdate is {clock_time(self.since)}, in the future"
        until = self.until
        if until is None and default_validity is not None:
            until = self.since + default_validity
        if until is not None and until < moment - skew:
            return f"its nextUpdate was {clock_time(until)}"
        return ""


def clock_time(moment: float) -> str:
    """A Unix time as RFC 3339 writes it, in whole seconds of UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_chain(chain: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates out of DER. Raises CertificateFormatError for one that the library cannot read."""
    try:
        return tuple(map(x509.load_der_x509_certificate, chain))
    except UNREADABLE as error:
        raise CertificateFormatError(f"a certificate of the chain cannot be read: {error}") from None


def fingerprint(certificate: x509.Certificate) -> str:
    """What a certificate is known by: the SHA-256 digest of its DER form, in Base64."""
    return base64.b64encode(certificate.fingerprint(hashes.SHA256())).decode()


def shown(text: object) -> str:
    """A text that others have written, as a log may hold it."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:_LONGEST_SHOWN])


def subject_of(certificate: x509.Certificate) -> str:
    """The distinguished name of a certificate, for people."""
    return shown(certificate.subject.rfc4514_string())


def responders(certificate: x509.Certificate) -> tuple[str, ...]:
    """The addresses over HTTP and HTTPS of the responders that a certificate names (RFC 5280 section 4.2.2.1).

    Raises CertificateFormatError.
    """
    named = (
        one.access_location.value
        for one in extension_of(certificate, x509.AuthorityInformationAccess) or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )
    return tuple(url for url in named if url.lower().startswith(("http://", "https://")))


def promises_staple(certificate: x509.Certificate) -> bool:
    """Whether a certificate is must-staple: its holder promises to show an answer about it (RFC 7633).

    Raises CertificateFormatError.
    """
    features = extension_of(certificate, x509.TLSFeature)
    return features is not None and x509.TLSFeatureType.status_request in features


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The request for one certificate, in DER.

    SHA-1 names it, as RFC 5019 section 2.1.1 wants it; what an answer proves does not rest on that. There is no nonce,
    so that responders may sign beforehand.
    """
    # What a digest only names needs no strength.
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    return builder.build().public_bytes(serialization.Encoding.DER)


def read_answer(der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, moment: float) -> Answer:
    """Reads what came for a question, and verifies that it is an answer to it.

    ``moment``, a Unix time, is when somebody named by the authority must be that; whether the answer itself is of
    today says :meth:`Answer.problem_at`.

    Raises:
        DelegationError: it is signed by somebody whom the authority has not named.
        AnswerError: it is no answer, not about this certificate, or not signed by its authority.
    """
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise AnswerError(f"the responder refused to answer: {response.response_status.name.lower()}")
        found = _status_of(response, certificate, issuer)
        if found is None:
            raise AnswerError("it is about another certificate")
        _check_signer(response, issuer, moment)
        until = found.next_update_utc
        return Answer(
            der,
            _STATUSES[found.certificate_status],
            found.this_update_utc.timestamp(),
            None if until is None else until.timestamp(),
        )
    except AnswerError:
        raise
    except SignatureError as error:
        raise AnswerError(str(error)) from None
    except (KeyError, *UNREADABLE) as error:
        raise AnswerError(f"it cannot be read: {error}") from None


def _status_of(
    response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse | None:
    """What it says of the certificate, which serial number and digests of its authority name (RFC 6960 4.1.1)."""
    for count, one in enumerate(response.responses):
        if count == _MOST_STATUSES:
            raise AnswerError("it is about too many certificates")
        if one.serial_number != certificate.serial_number:
            continue
        digest = one.hash_algorithm.name
        name = hashlib.new(digest, issuer.subject.public_bytes()).digest()
        key = hashlib.new(digest, public_key_bits(issuer)).digest()
        if (name, key) == (one.issuer_name_hash, one.issuer_key_hash):
            return one
    return None


def _check_signer(response: ocsp.OCSPResponse, issuer: x509.Certificate, moment: float) -> None:
    """Whoever signed is the authority, or holds a certificate of it for that (RFC 6960 section 4.2.2.2)."""
    for delegate in response.certificates:
        if _is_signer(response, delegate) and delegate != issuer:
            _check_delegate(delegate, issuer, moment)
            _check_response(response, delegate)
            return
    _check_response(response, issuer)


def _is_signer(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return certificate.subject == response.responder_name
    # The key hash of a responder is always SHA-1 (RFC 6960 section 4.2.1).
    return hashlib.sha1(public_key_bits(certificate), usedforsecurity=False).digest() == response.responder_key_hash


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, moment: float) -> None:
    try:
        check_issued(delegate, issuer)
    except SignatureError as error:
        raise DelegationError(f"the certificate of its signer is not the authority's: {error}") from None
    usage = extension_of(delegate, x509.ExtendedKeyUsage)
    if usage is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        raise DelegationError("the authority has not named its signer for OCSP")
    begins, ends = delegate.not_valid_before_utc.timestamp(), delegate.not_valid_after_utc.timestamp()
    if not begins - DEFAULT_SKEW <= moment <= ends + DEFAULT_SKEW:
        raise DelegationError("the certificate of its signer has expired, or is not valid yet")


def _check_response(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        raise SignatureError("it is signed with RSASSA-PSS, which is not supported")
    signed = Signed(response.signature, response.tbs_response_bytes, response.signature_hash_algorithm)
    signed.check(signer.public_key())
