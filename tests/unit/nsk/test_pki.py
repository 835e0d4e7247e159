"""A PKI of one's own: its certificates stand the strictest checks, say what they are for, and are renewed so."""

from __future__ import annotations

import errno
import json
import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, VerificationError
from cryptography.x509.verification import Store as Trusted

from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.errors import NskError
from tools.nsk.pki.folder import Folder
from tools.nsk.pki.issue import Request, Role, issue, request_of
from tools.nsk.pki.look import State, states
from tools.nsk.pki.manage import add, begin, publish, renew, revoke
from tools.nsk.pki.names import common_name, dns_name, email, network, subject

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CA = Request(Role.AUTHORITY, common_name("CA"), 3650 * DAY, path_length=0)


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A PKI with a server and a client, in the place where it lies by itself."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("pki", "init")
    found.ok("pki", "server", "--dns", "nats.test,*.nats.test", "--ip", "10.0.0.7")
    found.ok("pki", "client", "app", "--email", "app@nats.test")
    return found


def folder_of(tool: Tool) -> Folder:
    return Folder(tool.home / "pki")


def certificate(tool: Tool, name: str) -> x509.Certificate:
    return folder_of(tool).certificates(name)[0]


def trusting(folder: Folder) -> PolicyBuilder:
    """The verifier of the library, which is as strict as browsers are."""
    return PolicyBuilder().store(Trusted([folder.certificates("ca")[0]]))


def serves(folder: Folder, name: str, host: str) -> None:
    """A client that trusts the CA takes the certificate for the host. Raises VerificationError."""
    own, *chain = folder.certificates(name)
    wanted = x509.IPAddress(ip_address(host)) if host[0].isdigit() or ":" in host else x509.DNSName(host)
    trusting(folder).build_server_verifier(wanted).verify(own, chain)


def shake(folder: Folder, client: str, crls: tuple[str, ...] = ()) -> ssl.SSLObject:
    """A handshake in memory in which both sides show a certificate; the server's side of it. Raises ssl.SSLError."""
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, name in ((server_context, "server"), (client_context, client)):
        context.load_cert_chain(folder.certificate_path(name), folder.key_path(name))
        context.load_verify_locations(folder.certificate_path("ca"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    for issuer in crls:
        server_context.load_verify_locations(folder.crl_path(issuer))
        server_context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client_context.wrap_bio(to_client, to_server, server_hostname="nats.test"),
        server_context.wrap_bio(to_server, to_client, server_side=True),
    ]
    server, waiting = sides[1], list(sides)
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    return server


# What certificates say.


@pytest.mark.parametrize("host", ["nats.test", "eu.nats.test", "10.0.0.7"])
def test_strict_peers_take_them(tool: Tool, host: str) -> None:
    folder = folder_of(tool)
    serves(folder, "server", host)
    trusting(folder).build_client_verifier().verify(certificate(tool, "app"), [])
    assert shake(folder, "app").version() == "TLSv1.3"
    with pytest.raises(VerificationError):
        serves(folder, "server", "other.test")


def test_a_client_s_certificate_serves_nobody_and_a_server_s_logs_nobody_in(tool: Tool) -> None:
    folder = folder_of(tool)
    tool.ok("pki", "client", "fake", "--dns", "nats.test")
    with pytest.raises(VerificationError):
        serves(folder, "fake", "nats.test")
    with pytest.raises(VerificationError):
        trusting(folder).build_client_verifier().verify(certificate(tool, "server"), [])
    with pytest.raises(ssl.SSLError):
        shake(folder, "server")
    tool.ok("pki", "server", "route", "--dns", "nats.test", "--peer")
    serves(folder, "route", "nats.test")
    shake(folder, "route")


def test_extensions_are_those_of_the_standard(tool: Tool) -> None:
    ca, server, app = (certificate(tool, name) for name in ("ca", "server", "app"))
    for one, signs in ((ca, True), (server, False), (app, False)):
        basic = one.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = one.extensions.get_extension_for_class(x509.KeyUsage)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, signs, 0 if signs else None)
        assert (usage.critical, usage.value.digital_signature) == (True, not signs)
        assert (usage.value.key_cert_sign, usage.value.crl_sign) == (signs, signs)
        own = one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        above = one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert own == x509.SubjectKeyIdentifier.from_public_key(one.public_key())
        assert above.key_identifier == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert one.serial_number.bit_length() > 64
    purposes = [list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) for one in (server, app)]
    assert purposes == [[ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.CLIENT_AUTH]]
    assert 89 * DAY < server.not_valid_after_utc - NOW < 91 * DAY
    assert 3649 * DAY < ca.not_valid_after_utc - NOW < 3655 * DAY


def test_what_is_asked_for_stands_in_it_and_is_told(tool: Tool) -> None:
    """All names, a subject, where revocations are published, and that the server has to staple."""
    words = ["--uri", "spiffe://nats.test/app", "--email", "a@nats.test", "--dns", "a.nats.test", "--ip", "::1"]
    words += ["--subject", "CN=app,OU=Orders,O=Example", "--valid-for", "12h", "--ocsp-url", "http://ocsp.nats.test"]
    tool.ok("pki", "client", "full", *words, "--crl-url", "http://crl.nats.test/ca.crl")
    tool.ok("pki", "server", "stapled", "--dns", "nats.test", "--must-staple")
    told = json.loads(tool.ok("pki", "describe", "full", "--json"))["result"]
    assert told["names"] == ["dns:a.nats.test", "ip:::1", "uri:spiffe://nats.test/app", "email:a@nats.test"]
    assert (told["kind"], told["subject"]) == ("client", "CN=app,OU=Orders,O=Example")
    assert (told["ocsp_urls"], told["crl_urls"]) == (["http://ocsp.nats.test"], ["http://crl.nats.test/ca.crl"])
    assert told["not_after"] - told["not_before"] == 12 * 3600 + 300
    assert json.loads(tool.ok("pki", "describe", "stapled", "--json"))["result"]["must_staple"] is True
    tool.ok("pki", "describe", "full")
    for text in (told["serial"], told["pin"], "spiffe://nats.test/app", "http://crl.nats.test/ca.crl"):
        assert text in tool.out


@pytest.mark.parametrize(
    ("words", "user"),
    [
        (["--email", "a@nats.test", "--dns", "a.nats.test"], "a@nats.test"),
        (["--dns", "a.nats.test", "--uri", "spiffe://nats.test/app"], "a.nats.test"),
        (["--uri", "spiffe://nats.test/app"], "spiffe://nats.test/app"),
        (["--subject", "CN=app,OU=Orders,O=Example"], "CN=app,OU=Orders,O=Example"),
        ([], "CN=web"),
    ],
)
def test_the_user_that_a_server_maps_it_to_is_told(tool: Tool, words: list[str], user: str) -> None:
    tool.ok("pki", "client", "web", *words)
    assert f'{{ user: "{user}" }}' in tool.err


def test_an_intermediate_ca_issues_and_the_root_can_be_elsewhere(tool: Tool, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "two")
    tool.ok("pki", "--dir", str(folder.directory), "init", "--intermediate")
    folder.key_path("ca").rename(tmp_path / "away.pem")
    for words in (["server", "--dns", "nats.test"], ["client", "app"], ["renew", "--all"], ["revoke", "app"]):
        tool.ok("pki", "--dir", str(folder.directory), *words)
    assert [len(folder.certificates(name)) for name in ("server", "app", "intermediate", "ca")] == [2, 2, 1, 1]
    serves(folder, "server", "nats.test")
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        shake(folder, "app", crls=("intermediate",))
    # An intermediate that is renewed goes on vouching, by what it issued before too.
    assert "away" not in tool.refused("pki", "--dir", str(folder.directory), "renew", "intermediate")
    (tmp_path / "away.pem").rename(folder.key_path("ca"))
    before = folder.certificates("server")
    tool.ok("pki", "--dir", str(folder.directory), "renew", "intermediate", "--valid-for", "20y")
    after = folder.certificates("server")
    assert (after[0], after[1] == folder.certificates("intermediate")[0]) == (before[0], True)
    assert after[1] != before[1]
    serves(folder, "server", "nats.test")
    tool.ok("pki", "--dir", str(folder.directory), "revoke", "intermediate")
    assert folder.crl("ca") is not None
    assert [one.state for one in states(folder, NOW)][1] is State.REVOKED


def test_constraints_hold_whoever_has_the_key(tmp_path: Path) -> None:
    """What the CA may not vouch for is refused here, and by strict peers where it is signed all the same."""
    folder = Folder(tmp_path)
    permitted = (dns_name("lab.test"), network("10.0.0.0/8"))
    ca = issue(Request(Role.AUTHORITY, common_name("CA"), DAY, path_length=0, permitted=permitted), None)
    folder.write("ca", ca)
    for names in ((dns_name("a.lab.test"),), (dns_name("lab.test"),), (email("anybody@else.test"),)):
        add(folder, "x", Request(Role.SERVER, common_name("x"), DAY, names), replaces=True)
    outside = Request(Role.SERVER, common_name("x"), DAY, (dns_name("notlab.test"),))
    with pytest.raises(NskError, match="may not vouch for"):
        add(folder, "y", outside)
    folder.write("y", issue(outside, ca))
    with pytest.raises(VerificationError):
        serves(folder, "y", "notlab.test")


# Refusals.


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["server", "--dns", "a b"], "is no host name"),
        (["server", "--dns", "süd.test"], "is no host name"),
        (["server", "--dns", "10.0.0.1"], "is an address"),
        (["server", "--dns", "a.*.test"], "is no host name"),
        (["server", "--ip", "300.0.0.1"], "is no IP address"),
        (["server", "--ip", "fe80::1%eth0"], "is no IP address"),
        (["server", "--uri", "spiffe://x/y"], "host name or an address"),
        (["client", "app", "--uri", "nothing"], "is no URI"),
        (["client", "app", "--uri", "a://b c"], "is no URI"),
        (["client", "app", "--email", "nobody"], "is no e-mail address"),
        (["client", "app", "--subject", "app"], "is no subject"),
        (["client"], "needs a name"),
        (["client", "ca"], "kept for the CA"),
        (["client", "app-key"], "kept for the CA"),
        (["client", "../app"], "cannot name files"),
        (["client", "app"], "there is a certificate"),
        (["client", "x", "--valid-for", "0"], "not in the future"),
        (["client", "x", "--valid-for", "soon"], "--valid-for"),
        (["renew"], "name the certificates"),
        (["renew", "app", "--all"], "name the certificates"),
        (["renew", "nobody"], "there is no certificate"),
        (["revoke"], "name the certificates"),
        (["revoke", "ca"], "a root is not revoked"),
        (["revoke", "app", "--reason", "whim"], "is no reason"),
        (["revoke", "--serial", "xyz"], "is no serial number"),
        (["describe", "nobody"], "there is no certificate"),
        (["init"], "there is a CA"),
        (["init", "--permit-ip", "10.0.0.1/8", "--dir", "new"], "is no network"),
        (["list", "--dir", "new"], "there is no CA"),
        (["server", "--dir", "new"], "there is no CA"),
    ],
)
def test_what_would_not_work_is_refused_and_changes_nothing(tool: Tool, words: list[str], error: str) -> None:
    before, here = tool.files(), set(tool.home.parent.iterdir())
    said = tool.refused("pki", *words).splitlines()
    assert said[0].startswith("Error: ")
    assert error in said[0]
    assert said[1].startswith("  \N{RIGHTWARDS ARROW} ")
    assert (tool.files(), set(tool.home.parent.iterdir())) == (before, here)


def test_a_directory_with_keys_and_no_ca_is_left_alone(tool: Tool) -> None:
    folder = folder_of(tool)
    folder.certificate_path("ca").unlink()
    assert "holds keys or certificates and no CA" in tool.refused("pki", "init")


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_a_ca_that_is_spoilt_issues_nothing(tool: Tool, name: str) -> None:
    (tool.home / "pki" / name).write_text("spoilt")
    assert "can be read" in tool.refused("pki", "client", "web")
    assert "web" not in folder_of(tool).names()


def test_a_key_of_another_certificate_is_refused(tool: Tool) -> None:
    folder = folder_of(tool)
    folder.key_path("ca").write_text(folder.key_path("app").read_text())
    assert "is not the key of" in tool.refused("pki", "client", "web")


def test_a_ca_that_has_ended_issues_nothing_until_it_is_renewed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    begin(folder, CA, now=NOW - 4000 * DAY)
    request = Request(Role.CLIENT, common_name("x"), DAY)
    with pytest.raises(NskError, match="is not valid now"):
        add(folder, "x", request)
    key = folder.pair("ca").key_text
    renew(folder, "ca")
    assert folder.pair("ca").key_text == key
    add(folder, "x", request)


def test_nothing_outlives_its_ca(tool: Tool) -> None:
    tool.ok("pki", "client", "old", "--valid-for", "30y")
    assert "it ends with its CA" in tool.err
    assert certificate(tool, "old").not_valid_after_utc == certificate(tool, "ca").not_valid_after_utc


# Renewal.


def test_what_is_renewed_says_the_same_with_a_new_key(tool: Tool) -> None:
    words = ["--subject", "CN=x,O=Example", "--email", "a@b.test", "--valid-for", "17d", "--crl-url", "http://c.test"]
    tool.ok("pki", "client", "x", *words)
    folder = folder_of(tool)
    before = folder.pair("x")
    tool.ok("pki", "renew", "x")
    after = folder.pair("x")
    assert after.certificate.serial_number != before.certificate.serial_number
    assert after.key_text != before.key_text
    assert request_of(after.certificate) == request_of(before.certificate)
    tool.ok("pki", "renew", "x", "--keep-key", "--valid-for", "1y")
    assert folder.pair("x").key_text == after.key_text
    assert folder.pair("x").certificate.not_valid_after_utc > NOW + 300 * DAY


def test_those_that_end_soon_are_renewed_and_no_others(tool: Tool) -> None:
    tool.ok("pki", "client", "brief", "--valid-for", "10d")
    before = {name: certificate(tool, name) for name in ("ca", "app", "server", "brief")}
    done = json.loads(tool.ok("pki", "renew", "--all", "--if-expires-within", "30d", "--json"))["result"]
    assert [one["name"] for one in done["certificates"]] == ["brief"]
    changed = {name for name, one in before.items() if certificate(tool, name) != one}
    assert changed == {"brief"}
    tool.ok("pki", "renew", "--all")
    assert {name for name, one in before.items() if certificate(tool, name) != one} == {"brief", "app", "server"}


def test_whoever_renews_all_is_told_that_the_ca_ends(tmp_path: Path, tool: Tool) -> None:
    directory = tmp_path / "brief"
    tool.ok("pki", "--dir", str(directory), "init", "--valid-for", "20d")
    tool.ok("pki", "--dir", str(directory), "server")
    tool.ok("pki", "--dir", str(directory), "renew", "--all", "--if-expires-within", "30d")
    assert 'the CA "ca" ends at' in tool.err
    tool.ok("pki", "--dir", str(directory), "renew", "ca", "--valid-for", "1y")
    serves(Folder(directory), "server", "localhost")


def test_other_names_only_by_force(tool: Tool) -> None:
    assert "--force with others" in tool.refused("pki", "server", "--dns", "new.test")
    tool.ok("pki", "server", "--dns", "new.test", "--force")
    serves(folder_of(tool), "server", "new.test")


def test_a_full_disk_leaves_the_old_pair(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is there before the first file changes, so a certificate never stands beside another one's key."""
    folder, before = folder_of(tool), tool.files()
    certain = folder.certificate_path("server")

    def fail(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("tools.nsk.journal._put", fail)
        assert "no space left" in tool.refused("pki", "renew", "server")
        assert "[ OK ]" not in tool.err
    assert tool.files() == before
    real = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, to: fail(to) if to == certain else real(self, to))
        assert "the next command does it" in tool.refused("pki", "renew", "server")
    tool.ok("pki", "list")
    assert folder.pair("server").certificate.public_bytes(Encoding.PEM).decode() not in before.values()


# Revocation.


def test_the_revoked_are_kept_out_by_the_crl_and_others_are_not(tool: Tool) -> None:
    folder = folder_of(tool)
    tool.ok("pki", "client", "web")
    tool.ok("pki", "crl")
    shake(folder, "app", crls=("ca",))
    old = certificate(tool, "app")
    done = json.loads(tool.ok("pki", "revoke", "app", "--reason", "keyCompromise", "--json"))["result"]
    (crl,) = done["lists"]
    assert (crl["issuer"], crl["number"], crl["revoked"]) == ("ca", 2, [f"{old.serial_number:032x}"])
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        shake(folder, "app", crls=("ca",))
    shake(folder, "web", crls=("ca",))
    assert "so its key may be in other hands" in tool.refused("pki", "renew", "app", "--keep-key")
    tool.ok("pki", "renew", "app")
    shake(folder, "app", crls=("ca",))
    tool.ok("pki", "revoke", "--serial", f"{certificate(tool, 'web').serial_number:x}")
    held = folder.crl("ca")
    assert held is not None
    assert len(list(held)) == 2
    first = held.get_revoked_certificate_by_serial_number(old.serial_number)
    assert first is not None
    assert first.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    tool.ok("pki", "revoke", "web")
    assert "was revoked before" in tool.err


def test_every_ca_of_a_chain_has_its_crl(tool: Tool, tmp_path: Path) -> None:
    """Servers ask for one of each, so the first revocation makes them all, or says where one is to be made."""
    for is_away in (False, True):
        folder = Folder(tmp_path / f"chain-{is_away}")
        where = ("pki", "--dir", str(folder.directory))
        for line in (["init", "--intermediate"], ["client", "app"]):
            tool.ok(*where, *line)
        if is_away:
            folder.key_path("ca").unlink()
        tool.ok(*where, "revoke", "app")
        assert [folder.crl(issuer) is None for issuer in folder.issuers] == [is_away, False]
        assert ('there is no CRL of "ca" so far' in tool.err) == is_away


def test_a_crl_that_cannot_be_trusted_is_not_built_upon(tool: Tool, tmp_path: Path) -> None:
    """Starting anew would let in again whom it kept out."""
    folder, other = folder_of(tool), Folder(tmp_path / "other")
    begin(other, CA)
    publish(other, "ca")
    for text in ("spoilt", other.crl_path("ca").read_text()):
        folder.crl_path("ca").write_text(text)
        tool.refused("pki", "revoke", "app")
        assert folder.crl_path("ca").read_text() == text


def test_crls_are_made_anew_before_they_end(tool: Tool) -> None:
    folder = folder_of(tool)
    tool.ok("pki", "crl")
    tool.ok("pki", "crl", "--if-expires-within", "7d")
    assert "holds until" in tool.err
    tool.ok("pki", "crl", "--if-expires-within", "60d", "--valid-for", "90d")
    crl = folder.crl("ca")
    assert crl is not None
    assert crl.next_update_utc is not None
    assert crl.next_update_utc > NOW + 80 * DAY


def test_how_certificates_stand(tmp_path: Path) -> None:
    folder, other = Folder(tmp_path / "one"), Folder(tmp_path / "other")
    for each in (folder, other):
        begin(each, CA, now=NOW - 100 * DAY)
    spans = (("ended", 9, 20), ("ending", 30, 5), ("lasting", 90, 5), ("early", 90, -5), ("gone", 90, 5))
    for name, days, begun in spans:
        add(folder, name, Request(Role.CLIENT, subject(f"CN={name}"), days * DAY), now=NOW - begun * DAY)
    add(other, "stranger", Request(Role.CLIENT, common_name("stranger"), DAY))
    folder.write("stranger", other.pair("stranger"))
    folder.certificate_path("odd").write_text("spoilt")
    revoke(folder, folder.certificates("gone")[0].serial_number, x509.ReasonFlags.superseded)
    assert {one.name: one.state for one in states(folder, NOW)} == {
        "ca": State.VALID,
        "early": State.EARLY,
        "ended": State.EXPIRED,
        "ending": State.EXPIRING,
        "gone": State.REVOKED,
        "lasting": State.VALID,
        "odd": State.UNREADABLE,
        "stranger": State.FOREIGN,
    }


def test_the_list_says_what_to_do(tool: Tool) -> None:
    tool.ok("pki", "client", "brief", "--valid-for", "1d")
    tool.ok("pki", "list")
    assert "| brief " in tool.out
    assert f"brief is expiring: nsk pki --dir {tool.home / 'pki'} renew brief" in tool.err
    listed = json.loads(tool.ok("pki", "list", "--json"))["result"]
    assert [one["name"] for one in listed["certificates"]] == ["ca", "app", "brief", "server"]


def test_keys_are_for_their_owner_alone_and_never_shown(tool: Tool) -> None:
    directory = tool.home / "pki"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    for words in (["list"], ["describe", "app"], ["renew", "app"], ["describe", "app", "--json"]):
        tool.ok("pki", *words)
        assert "PRIVATE KEY" not in tool.out + tool.err
    assert "PRIVATE" not in repr(folder_of(tool).pair("app"))
