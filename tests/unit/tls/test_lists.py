"""Revocation lists: what they revoke, when they count, and which files are refused."""

from __future__ import annotations

import base64
import contextlib
import datetime
import time

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.authorities import DAY, Holder, now, root
from tls.revocation.answers import Finding
from tls.revocation.lists import REVOKED, RevocationListError, RevocationLists, read_lists

PLACE = "http://lists.test/1.crl"
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(scope="module")
def authority() -> Holder:
    return root()


@pytest.fixture(scope="module")
def holder(authority: Holder) -> Holder:
    return authority.issue("client")


def lists(*contents: bytes) -> RevocationLists:
    return read_lists({f"{number}.crl": content for number, content in enumerate(contents)})


def problem(found: RevocationLists, holder: Holder, *, at: float | None = None, lenient: bool = False) -> str:
    assert holder.issuer is not None
    moment = time.time() if at is None else at
    return found.problem_of(holder.certificate, holder.issuer.certificate, moment, lenient=lenient)


def pem(der: bytes) -> bytes:
    lines = base64.encodebytes(der)
    return b"-----BEGIN X509 CRL-----\n" + lines + b"-----END X509 CRL-----\n"


def test_who_is_revoked(authority: Holder, holder: Holder) -> None:
    other = authority.issue("other")
    found = lists(authority.revocations([holder]))
    assert problem(found, holder) == REVOKED
    assert problem(found, other) == ""
    assert problem(lists(authority.revocations()), holder) == ""


def test_pem_and_several_in_one_file(authority: Holder, holder: Holder) -> None:
    other = root("Other")
    stranger = other.issue("client")
    text = b"# fetched today\n" + pem(authority.revocations([holder])) + pem(other.revocations())
    found = lists(text)
    assert len(found.lists) == 2
    assert problem(found, holder) == REVOKED
    assert problem(found, stranger) == ""


def test_a_list_that_is_not_there(authority: Holder, holder: Holder) -> None:
    found = lists(root("Other").revocations([holder]))
    assert problem(found, holder) == "there is no CRL of CN=Test Root for it"
    assert problem(found, holder, lenient=True) == ""


def test_a_list_of_another_time(authority: Holder, holder: Holder) -> None:
    other = authority.issue("other")
    start = now()
    found = lists(authority.revocations([holder], since=start, until=start + DAY))
    for at, text in ((start - 2 * MINUTE, "begins at"), (start + DAY + MINUTE, "ended at")):
        moment = at.timestamp()
        assert text in problem(found, other, at=moment)
        assert problem(found, other, at=moment, lenient=True) == ""
        # What it revokes stays revoked.
        assert problem(found, holder, at=moment) == REVOKED
        assert problem(found, holder, at=moment, lenient=True) == REVOKED
    for within in (start, start + DAY):
        assert problem(found, other, at=within.timestamp()) == ""


def test_an_older_list_beside_a_newer_one(authority: Holder, holder: Holder) -> None:
    old = authority.revocations([holder], since=now() - 3 * DAY, until=now() - DAY)
    found = lists(authority.revocations(), old)
    assert problem(found, holder) == REVOKED
    assert problem(found, authority.issue("other")) == ""


# Whose it is


def test_a_list_that_somebody_else_signed(authority: Holder, holder: Holder) -> None:
    thief = root()
    assert "no CRL" in problem(lists(authority.revocations(key=thief.key)), holder)
    assert "no CRL" in problem(lists(thief.revocations()), holder)


def test_a_list_that_was_changed(authority: Holder, holder: Holder) -> None:
    der = bytearray(authority.revocations([holder]))
    number = holder.serial.to_bytes((holder.serial.bit_length() + 8) // 8, "big")
    der[bytes(der).index(number) + len(number) - 1] ^= 1
    assert "no CRL" in problem(lists(bytes(der)), holder)


def test_an_authority_that_may_not_sign_lists(authority: Holder) -> None:
    between = authority.issue("Between", authority=True, signs_lists=False)
    assert "no CRL" in problem(lists(between.revocations()), between.issue("client"))


def test_an_authority_with_a_new_key(authority: Holder, holder: Holder) -> None:
    other = root()
    assert other.certificate.subject == authority.certificate.subject
    found = lists(authority.revocations([holder]), other.revocations())
    assert problem(found, holder) == REVOKED
    stranger = other.issue("client")
    assert problem(found, stranger) == ""


# What it covers


def scope(**values: object) -> list[tuple[x509.ExtensionType, bool]]:
    fields: dict[str, object] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }
    return [(x509.IssuingDistributionPoint(**{**fields, **values}), True)]


def test_lists_for_some_certificates(authority: Holder, holder: Holder) -> None:
    between = authority.issue("Between", authority=True)
    for kind, covered, other in (
        ("only_contains_user_certs", holder, between), ("only_contains_ca_certs", between, holder)
    ):
        found = lists(authority.revocations([covered], extensions=scope(**{kind: True})))
        assert problem(found, covered) == REVOKED
        assert "no CRL" in problem(found, other)


def test_lists_in_parts(authority: Holder) -> None:
    here, there = (authority.issue("client", lists=[place]) for place in (PLACE, "http://lists.test/2.crl"))
    part = scope(full_name=[x509.UniformResourceIdentifier(PLACE)])
    found = lists(authority.revocations([here], extensions=part))
    assert problem(found, here) == REVOKED
    assert "no CRL" in problem(found, there)
    assert "no CRL" in problem(found, authority.issue("client"))


# Chains


def test_every_link_is_looked_at(authority: Holder) -> None:
    between = authority.issue("Between", authority=True)
    client = between.issue("client")
    chain = (client.certificate, between.certificate, authority.certificate)
    of_root, of_between = authority.revocations(), between.revocations()
    at = time.time()
    assert lists(of_root, of_between).problem_in(chain, at) is None
    assert lists(of_root, of_between).problem_in(chain[:1], at) is None
    assert lists(of_between).problem_in(chain[:2], at) is None
    found = lists(authority.revocations([between]), of_between).problem_in(chain, at)
    assert found == Finding(chain, between.certificate, REVOKED)
    found = lists(of_between).problem_in(chain, at)
    assert found == Finding(chain, between.certificate, "there is no CRL of CN=Test Root for it")
    assert lists(of_between).problem_in(chain, at, lenient=True) is None
    revoked = lists(between.revocations([client], until=now() - MINUTE, since=now() - DAY))
    assert revoked.revoked_in(chain) == Finding(chain, client.certificate, REVOKED)
    assert lists(of_root).revoked_in(chain) is None
    found = lists(of_root, between.revocations([client])).problem_in(chain, at, lenient=True)
    assert found == Finding(chain, client.certificate, REVOKED)


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "open 0.crl: the CRL file cannot be read"),
        (b"", "0.crl holds no CRL; put one there, in PEM"),
        (b"-----BEGIN CERTIFICATE-----", "0.crl holds no CRL; put one there, in PEM"),
        (b"\x30", "holds no CRL that can be read: it ends too soon; fetch it anew"),
        (b"\x30\x80\x00\x00", "holds no CRL that can be read: its length has no end"),
        (b"\x30\x03\x02\x01\x01", "holds no CRL that can be read"),
        (pem(b"\x30\x00"), "holds no CRL that can be read"),
        (b"-----BEGIN X509 CRL-----\n!!!\n-----END X509 CRL-----", "holds no CRL that can be read"),
    ],
)
def test_files_that_are_refused(content: bytes | None, message: str) -> None:
    with pytest.raises(RevocationListError) as caught:
        read_lists({"0.crl": content})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ([(x509.DeltaCRLIndicator(1), True)], "is a delta CRL; name a complete one"),
        (scope(indirect_crl=True), "is indirect, for attribute certificates or for some reasons only"),
        (scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), "for some reasons only"),
        (scope(only_contains_attribute_certs=True), "for attribute certificates"),
        (scope(full_name=[x509.DNSName("x")]), "is published at no URI"),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)],
            "has a critical extension (1.2.3) that is not known here",
        ),
    ],
)
def test_lists_that_are_refused(
    authority: Holder, extensions: list[tuple[x509.ExtensionType, bool]], message: str
) -> None:
    with pytest.raises(RevocationListError) as caught:
        lists(authority.revocations(extensions=extensions))
    assert message in str(caught.value)


def test_a_list_cut_short(authority: Holder, holder: Holder) -> None:
    der = authority.revocations([holder])
    for end in range(len(der)):
        with pytest.raises(RevocationListError):
            lists(der[:end])
    with pytest.raises(RevocationListError, match="something follows it"):
        lists(der + b"\0")


def test_no_change_of_a_byte_takes_anybody_off_it(authority: Holder, holder: Holder) -> None:
    der = bytearray(authority.revocations([holder]))
    for place, byte in enumerate(der):
        for other in (byte ^ 1, byte ^ 0x80, 0):
            der[place] = other
            with contextlib.suppress(RevocationListError):
                assert problem(lists(bytes(der)), holder) != ""
        der[place] = byte


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(min_value=1, max_value=1 << 158), max_size=40))
def test_the_serial_numbers_are_those_that_the_library_reads(serials: set[int]) -> None:
    der = _AUTHORITY.revocations(serials)
    (found,) = lists(der).lists
    assert found.serials == serials == {one.serial_number for one in x509.load_der_x509_crl(der)}


_AUTHORITY = root()
