"""What may take the place of a certificate that is served, and what is said of what may not."""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import tls.served
from tests.support.authorities import DAY, LOCAL, Holder, root
from tests.support.renewals import LOCKED, Place, renewed
from tls.policy import CertificatePair, TLSSettingsError
from tls.served import Served, UnsettledFilesError, lost_names, serve

ROOT = root()
BETWEEN = renewed(ROOT, "Between", names=(), authority=True)
SERVED = renewed(BETWEEN)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.put(SERVED)
    return place


@pytest.fixture
def before(place: Place) -> Served:
    return serve(place.options())


def hosts(*names: str) -> tuple[x509.DNSName, ...]:
    return tuple(map(x509.DNSName, names))


# What is known of a chain


def test_the_facts_of_a_chain(place: Place, before: Served) -> None:
    (chain,) = before.chains
    assert (chain.file, chain.subject, chain.name) == (str(place.cert_file), "CN=localhost", "localhost")
    assert (chain.dns_names, chain.addresses) == (("localhost",), ("127.0.0.1",))
    assert chain.serial == f"{SERVED.certificate.serial_number:x}"
    assert len(chain.fingerprints) == 2
    assert chain.not_after == SERVED.certificate.not_valid_after_utc.timestamp()
    assert chain.issuer[0] == ROOT.certificate.subject.public_bytes()


def test_a_chain_ends_with_the_first_of_its_certificates(place: Place) -> None:
    between = renewed(ROOT, "Brief", names=(), ends=3 * DAY, authority=True)
    place.put(renewed(between))
    (chain,) = serve(place.options()).chains
    assert chain.ends_at == between.certificate.not_valid_after_utc.timestamp()
    # Of a root clients have one of their own, and theirs counts.
    brief = root()
    place.cert_file.write_bytes(SERVED.chain_pem + ROOT.pem + brief.pem)
    place.key_file.write_bytes(SERVED.key_pem())
    (chain,) = serve(place.options()).chains
    assert chain.ends_at == chain.not_after


def test_without_alternative_names_the_common_name_counts(place: Place) -> None:
    place.put(renewed(ROOT, "Broker.Example", names=()))
    (chain,) = serve(place.options()).chains
    assert (chain.dns_names, chain.addresses) == (("broker.example",), ())


@pytest.mark.parametrize(
    ("life", "left", "notice", "is_due"),
    [
        (90 * DAY, 8 * DAY, None, False),
        (90 * DAY, 6 * DAY, None, True),
        (6 * DAY, 1.1 * DAY, None, False),
        (6 * DAY, 0.9 * DAY, None, True),
        (90 * DAY, 20 * DAY, 21 * DAY, True),
        (90 * DAY, 6 * DAY, DAY, False),
        (90 * DAY, -DAY, 0 * DAY, True),
    ],
)
def test_when_a_warning_is_due(
    place: Place, life: datetime.timedelta, left: datetime.timedelta, notice: datetime.timedelta | None, is_due: bool
) -> None:
    place.put(renewed(ROOT, begins=left - life, ends=left))
    (chain,) = serve(place.options()).chains
    assert chain.is_due(time.time(), None if notice is None else notice.total_seconds()) is is_due


# What takes its place


def good() -> dict[str, Holder]:
    return {
        "by the same authority": renewed(BETWEEN),
        "by another authority of the same root": renewed(renewed(ROOT, "Next", names=(), authority=True)),
        "by the root itself": renewed(ROOT),
        "for more names": renewed(BETWEEN, names=(*LOCAL, x509.DNSName("more.example"))),
        "for servers": renewed(BETWEEN, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "for everything": renewed(BETWEEN, usage=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    }


GOOD = good()


@pytest.mark.parametrize("name", GOOD)
def test_what_takes_its_place(place: Place, before: Served, name: str) -> None:
    place.put(GOOD[name])
    after = serve(place.options(), before)
    assert after.chains != before.chains
    assert after.context is not before.context
    assert set(after.changed_files(before)) == {str(place.cert_file), str(place.key_file)}


def test_a_chain_may_bring_its_root(place: Place, before: Served) -> None:
    other = root("Other Root")
    new = renewed(other)
    place.put(new)
    with pytest.raises(TLSSettingsError, match="append the issuer's certificate"):
        serve(place.options(), before)
    place.cert_file.write_bytes(new.chain_pem + other.pem)
    serve(place.options(), before)


def test_a_certificate_that_signed_itself_needs_nobody(place: Place) -> None:
    place.put(root("localhost"))
    before = serve(place.options())
    place.put(root("localhost"))
    assert serve(place.options(), before).chains != before.chains


def test_an_authority_of_ca_file_is_known(place: Place, before: Served, tmp_path: Path) -> None:
    other = root("Other Root")
    (tmp_path / "ca.pem").write_bytes(ROOT.pem + other.pem)
    place.put(renewed(other))
    serve(place.options(ca_file=str(tmp_path / "ca.pem")), before)


def test_an_authority_of_the_system_is_known(
    place: Place, before: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = root("Public Root")
    place.put(renewed(public))
    (tmp_path / "bundle.pem").write_bytes(ROOT.pem + public.pem)
    (tmp_path / "trusted").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "trusted"))
    serve(place.options(), before)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(TLSSettingsError, match="nobody here knows"):
        serve(place.options(), before)
    (tmp_path / "trusted" / "01234567.0").write_bytes(public.pem)
    serve(place.options(), before)


def test_what_is_served_already_is_not_judged_again(place: Place) -> None:
    """A reload about something else must not fail for a certificate that expired while it was served."""
    place.put(renewed(ROOT, ends=-0.5 * DAY))
    before = serve(place.options())
    after = serve(place.options(min_version="1.3"), before)
    assert after.chains == before.chains
    place.put(renewed(ROOT, ends=-0.4 * DAY))
    with pytest.raises(TLSSettingsError, match="expired"):
        serve(place.options(), before)


# What does not


@pytest.mark.parametrize("part", ["cert_file", "key_file"])
def test_no_beginning_of_a_file_takes_its_place(place: Place, before: Served, part: str) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    path: Path = getattr(place, part)
    data = path.read_bytes().rstrip(b"\n")
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(TLSSettingsError, match=path.name):
            serve(place.options(), before)
    path.write_bytes(data)
    serve(place.options(), before)


def without_chain(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    place.cert_file.write_bytes(new.pem)


def with_stray_issuer(place: Place) -> None:
    new = renewed(renewed(ROOT, "no authority", names=()))
    place.put(new)


def cut_certificate(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    place.cert_file.write_bytes(new.chain_pem[:200])


def cut_key(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    place.key_file.write_bytes(new.key_pem()[:100])


def cut_chain(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    place.cert_file.write_bytes(new.chain_pem[: len(new.pem) + 100])


def other_key(place: Place) -> None:
    place.key_file.write_bytes(renewed(BETWEEN).key_pem())


def locked_key(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    place.key_file.write_bytes(new.key_pem(LOCKED))


def directory(place: Place) -> None:
    place.cert_file.unlink()
    place.cert_file.mkdir()


BAD: dict[str, tuple[Callable[[Place], object], str]] = {
    "the key of another": (other_key, "tls.key does not belong to the certificate"),
    "expired": (lambda place: place.put(renewed(BETWEEN, ends=-0.5 * DAY)), "expired on .*; renew it"),
    "not yet valid": (lambda place: place.put(renewed(BETWEEN, begins=DAY)), "is valid from .* only; wait until then"),
    "an expired authority": (
        lambda place: place.put(renewed(renewed(ROOT, "Old", names=(), ends=-0.5 * DAY, authority=True))),
        "the certificate CN=Old in .*tls.crt expired on",
    ),
    "without its chain": (without_chain, "ends at CN=localhost, whose issuer CN=Between nobody here knows; append"),
    "by what is no authority": (with_stray_issuer, "CN=no authority .* issues others without being an authority"),
    "another host": (
        lambda place: place.put(renewed(BETWEEN, names=(*hosts("other.example"), LOCAL[1]))),
        "is not good for localhost, as the one that is served; issue it for these names too",
    ),
    "another address": (lambda place: place.put(renewed(BETWEEN, names=LOCAL[:1])), "is not good for 127.0.0.1"),
    "for clients": (
        lambda place: place.put(renewed(BETWEEN, usage=ExtendedKeyUsageOID.CLIENT_AUTH)),
        "is not for servers; issue it with the extended key usage serverAuth",
    ),
    "half a certificate": (cut_certificate, "tls.crt ends before its end; write the whole file"),
    "half a chain": (cut_chain, "tls.crt ends before its end"),
    "half a key": (cut_key, "tls.key ends before its end"),
    "an empty certificate": (lambda place: place.cert_file.write_bytes(b""), "tls.crt holds no certificate"),
    "an empty key": (lambda place: place.key_file.write_bytes(b""), "tls.key holds no private key"),
    "a locked key": (locked_key, "tls.key is encrypted; decrypt it with: openssl pkey -in"),
    "no certificate": (lambda place: place.cert_file.unlink(), "open .*tls.crt: no such file"),
    "no key": (lambda place: place.key_file.unlink(), "open .*tls.key: no such file"),
    "a directory": (directory, "open .*tls.crt: is a directory"),
    "a key for a certificate": (lambda place: place.cert_file.write_bytes(SERVED.key_pem()), "holds no certificate"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_take_its_place(place: Place, before: Served, name: str) -> None:
    spoil, text = BAD[name]
    spoil(place)
    with pytest.raises(TLSSettingsError, match=text):
        serve(place.options(), before)


def test_whoever_names_other_files_may_give_names_up(place: Place, before: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.put(renewed(BETWEEN, names=hosts("other.example")))
    after = serve(other.options(), before)
    assert after.lost_names(before) == ("localhost", "127.0.0.1")
    other.put(renewed(BETWEEN, ends=-0.5 * DAY))
    with pytest.raises(TLSSettingsError, match="expired"):
        serve(other.options(), before)


def test_files_that_change_while_they_are_read(
    place: Place, before: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_then(settings: object) -> object:
        place.cert_file.write_bytes(renewed(BETWEEN).chain_pem)
        return before.context

    monkeypatch.setattr(tls.served, "server_context", and_then)
    with pytest.raises(UnsettledFilesError):
        serve(place.options(), before)


# Names


def chains(tmp_path: Path, *names: tuple[str, ...]) -> Served:
    """A listener with a pair for each group of names; digits are addresses."""
    pairs = []
    for number, group in enumerate(names):
        (tmp_path / str(number)).mkdir(exist_ok=True)
        place = Place(tmp_path / str(number))
        place.put(renewed(ROOT, names=[*hosts(*(one for one in group if not one[0].isdigit())), *_addresses(group)]))
        pairs.append(CertificatePair(str(place.cert_file), str(place.key_file)))
    return serve(replace(place.options(), cert_file="", key_file="", certificates=tuple(pairs)))


def _addresses(group: tuple[str, ...]) -> list[x509.IPAddress]:
    return [x509.IPAddress(ipaddress.ip_address(one)) for one in group if one[0].isdigit()]


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ([("a.x", "b.x")], [("*.x",)], ()),
        ([("*.x",)], [("a.x", "b.x")], ("*.x",)),
        ([("*.x",)], [("*.x", "y")], ()),
        ([("a.b.x",)], [("*.x",)], ("a.b.x",)),
        ([("*.b.x",)], [("*.x",)], ("*.b.x",)),
        ([("x",)], [("*.x",)], ("x",)),
        ([("A.x",)], [("a.X",)], ()),
        ([("a",), ("b",)], [("b",), ("a",)], ()),
        ([("a",), ("b",)], [("a", "b")], ()),
        ([("a", "10.0.0.1"), ("b",)], [("b",), ("a", "10.0.0.1")], ("10.0.0.1",)),
        ([("a",), ("b", "10.0.0.1")], [("a",), ("b",)], ()),
    ],
)
def test_names_that_would_be_lost(
    tmp_path: Path, before: list[tuple[str, ...]], after: list[tuple[str, ...]], lost: tuple[str, ...]
) -> None:
    assert lost_names(chains(tmp_path, *before).chains, chains(tmp_path, *after).chains) == lost
