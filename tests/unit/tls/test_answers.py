"""Answers of OCSP responders: which are taken, and why the others are not."""

from __future__ import annotations

import contextlib
import datetime
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp

from tests.support.authorities import DAY, DER, OCSP_SIGNING, Holder, now, root
from tests.support.responder import Script, answer
from tls.der import SEQUENCE, bounds, elements, sequence
from tls.revocation.answers import (
    AnswerError,
    CertificateStatus,
    DelegationError,
    promises_staple,
    question,
    read_answer,
    responders,
)

HOUR = datetime.timedelta(hours=1)
SHA256 = hashes.SHA256()
ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


@pytest.fixture(scope="module")
def authority() -> Holder:
    return root()


@pytest.fixture(scope="module")
def holder(authority: Holder) -> Holder:
    return authority.issue("client", ocsp=["http://r.test/ocsp", "ldap://r.test", "HTTPS://s.test"])


def read(der: bytes, holder: Holder) -> CertificateStatus:
    assert holder.issuer is not None
    return read_answer(der, holder.certificate, holder.issuer.certificate, time.time()).status


def test_what_is_asked(authority: Holder, holder: Holder) -> None:
    asked = ocsp.load_der_ocsp_request(question(holder.certificate, authority.certificate))
    assert asked.serial_number == holder.serial
    assert isinstance(asked.hash_algorithm, hashes.SHA1)
    assert list(asked.extensions) == []


def test_who_is_asked(authority: Holder, holder: Holder) -> None:
    assert responders(holder.certificate) == ("http://r.test/ocsp", "HTTPS://s.test")
    assert responders(authority.certificate) == ()


def test_must_staple(authority: Holder, holder: Holder) -> None:
    assert promises_staple(authority.issue("server", must_staple=True).certificate)
    assert not promises_staple(holder.certificate)


def test_each_status(authority: Holder, holder: Holder) -> None:
    assert read(answer(Script(), holder, authority), holder) is CertificateStatus.GOOD
    assert read(answer(Script(revoked={holder.serial}), holder, authority), holder) is CertificateStatus.REVOKED
    assert read(answer(Script(unknown={holder.serial}), holder, authority), holder) is CertificateStatus.UNKNOWN


def test_times(authority: Holder, holder: Holder) -> None:
    script = Script(since=-HOUR, until=HOUR)
    found = read_answer(answer(script, holder, authority), holder.certificate, authority.certificate, time.time())
    at = time.time()
    assert found.problem_at(at) == ""
    assert "nextUpdate was" in found.problem_at(at + 3600 + 31)
    assert found.problem_at(at + 3600 + 20) == ""
    assert "nextUpdate was" in found.problem_at(at + 3600 + 20, skew=0.0)
    assert "in the future" in found.problem_at(at - 3600 - 32)
    assert found.problem_at(at - 3600 - 20) == ""


def test_an_answer_without_an_end(authority: Holder, holder: Holder) -> None:
    der = answer(Script(until=None), holder, authority)
    found = read_answer(der, holder.certificate, authority.certificate, time.time())
    assert found.until is None
    at = time.time()
    assert found.problem_at(at + 1e9) == ""
    assert found.problem_at(at + 3500, default_validity=3600.0) == ""
    assert "nextUpdate was" in found.problem_at(at + 3700, default_validity=3600.0)


# Whom it is about


def test_an_answer_about_another_certificate(authority: Holder, holder: Holder) -> None:
    other = authority.issue("other")
    with pytest.raises(AnswerError, match="about another certificate"):
        read(answer(Script(about=other), holder, authority), holder)


def test_an_answer_about_the_same_number_of_another_authority(holder: Holder, authority: Holder) -> None:
    impostor = root("Test Root")
    der = answer(Script(), holder, impostor)
    with pytest.raises(AnswerError, match="about another certificate"):
        read(der, holder)


def test_several_certificates_in_one_answer(authority: Holder, holder: Holder) -> None:
    other = authority.issue("other")
    script = Script(revoked={holder.serial})
    texts = [
        ocsp.load_der_ocsp_response(answer(script, one, authority)).tbs_response_bytes for one in (other, holder)
    ]
    der = _signed_anew(authority, _with_statuses(texts[0], [_status_in(text) for text in texts]))
    assert read(der, holder) is CertificateStatus.REVOKED
    assert read(der, other) is CertificateStatus.GOOD
    crowd = _signed_anew(authority, _with_statuses(texts[0], [_status_in(texts[0])] * 100))
    assert read(crowd, other) is CertificateStatus.GOOD
    with pytest.raises(AnswerError, match="too many"):
        read(crowd, holder)


def _statuses_at(text: bytes) -> tuple[int, int, int]:
    """Where the statuses of a ResponseData stand (RFC 6960 section 4.2.1)."""
    return next(part for part in elements(text, *bounds(text, 0)) if text[part[0]] == SEQUENCE)


def _status_in(text: bytes) -> bytes:
    _, begin, end = _statuses_at(text)
    return text[begin:end]


def _with_statuses(text: bytes, statuses: list[bytes]) -> bytes:
    begin, _, end = _statuses_at(text)
    content, _ = bounds(text, 0)
    return sequence(text[content:begin], sequence(*statuses), text[end:])


def _signed_anew(
    authority: Holder, text: bytes, digest: hashes.HashAlgorithm = SHA256, algorithm: bytes = ECDSA_WITH_SHA256
) -> bytes:
    signature = authority.key.sign(text, ec.ECDSA(digest))
    basic = sequence(text, algorithm, _element(0x03, b"\0" + signature))
    kind = bytes.fromhex("06092b0601050507300101")
    return sequence(b"\x0a\x01\x00", _element(0xA0, sequence(kind, _element(0x04, basic))))


def _element(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + sequence(content)[1:]


# Who signed


def test_a_foreign_signature(authority: Holder, holder: Holder) -> None:
    text = ocsp.load_der_ocsp_response(answer(Script(), holder, authority)).tbs_response_bytes
    assert read(_signed_anew(authority, text), holder) is CertificateStatus.GOOD
    with pytest.raises(AnswerError, match="signature is not that of the authority"):
        read(_signed_anew(root(), text), holder)


def test_a_digest_that_proves_nothing(authority: Holder, holder: Holder) -> None:
    text = ocsp.load_der_ocsp_response(answer(Script(), holder, authority)).tbs_response_bytes
    ecdsa_with_sha1 = bytes.fromhex("300906072a8648ce3d0401")
    with pytest.raises(AnswerError, match="signed with sha1, which proves nothing"):
        read(_signed_anew(authority, text, hashes.SHA1(), ecdsa_with_sha1), holder)


def test_a_changed_answer(authority: Holder, holder: Holder) -> None:
    der = bytearray(answer(Script(revoked={holder.serial}), holder, authority))
    good = answer(Script(), holder, authority)
    assert read(good, holder) is CertificateStatus.GOOD
    place = bytes(der).index(holder.serial.to_bytes((holder.serial.bit_length() + 8) // 8, "big"))
    der[place + 20] ^= 1
    with pytest.raises(AnswerError):
        read(bytes(der), holder)


def test_somebody_named_for_it(authority: Holder, holder: Holder) -> None:
    delegate = authority.issue("responder", usage=OCSP_SIGNING)
    assert read(answer(Script(delegate=delegate), holder, authority), holder) is CertificateStatus.GOOD


def test_somebody_not_named_for_it(authority: Holder, holder: Holder) -> None:
    for delegate in (
        authority.issue("client like any other"),
        authority.issue("server", usage=x509.ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        with pytest.raises(DelegationError, match="not named its signer"):
            read(answer(Script(delegate=delegate), holder, authority), holder)


def test_somebody_named_by_another_authority(authority: Holder, holder: Holder) -> None:
    for other in (root("Other"), root("Test Root"), authority.issue("Between", authority=True)):
        delegate = other.issue("responder", usage=OCSP_SIGNING)
        with pytest.raises(DelegationError, match="not the authority's"):
            read(answer(Script(delegate=delegate), holder, authority), holder)


def test_somebody_whose_time_is_over(authority: Holder, holder: Holder) -> None:
    delegate = authority.issue("responder", usage=OCSP_SIGNING, ends=now() - DAY)
    with pytest.raises(DelegationError, match="expired"):
        read(answer(Script(delegate=delegate), holder, authority), holder)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_keys_of_other_kinds(kind: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    digest = None if kind == "ed25519" else SHA256
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Other Kind")])
    authority, own = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + DAY)
        .sign(key, digest)
        for number, subject in ((1, name), (2, x509.Name([])))
    )
    der = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=own, issuer=authority, algorithm=SHA256, cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now(), next_update=now() + HOUR, revocation_time=None, revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, authority)
        .sign(key, digest)
        .public_bytes(DER)
    )
    assert read_answer(der, own, authority, time.time()).status is CertificateStatus.GOOD


# What is no answer


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x82", b"<html>", b"\x30\x03\x0a\x01\x00", bytes(1000)])
def test_what_is_no_answer(holder: Holder, der: bytes) -> None:
    with pytest.raises(AnswerError):
        read(der, holder)


def test_an_answer_cut_short(authority: Holder, holder: Holder) -> None:
    der = answer(Script(), holder, authority)
    for end in range(len(der)):
        with pytest.raises(AnswerError):
            read(der[:end], holder)


@pytest.mark.parametrize("by_delegate", [False, True])
def test_no_change_of_a_byte_makes_it_say_something_else(
    authority: Holder, holder: Holder, by_delegate: bool
) -> None:
    delegate = authority.issue("responder", usage=OCSP_SIGNING) if by_delegate else None
    der = bytearray(answer(Script(revoked={holder.serial}, delegate=delegate), holder, authority))
    for place, byte in enumerate(der):
        for other in (byte ^ 1, byte ^ 0x80, 0):
            der[place] = other
            with contextlib.suppress(AnswerError):
                assert read(bytes(der), holder) is CertificateStatus.REVOKED
        der[place] = byte


def test_a_refusal_to_answer(authority: Holder, holder: Holder) -> None:
    script = Script(refusal=ocsp.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(AnswerError, match="refused to answer: try_later"):
        read(answer(script, holder, authority), holder)
