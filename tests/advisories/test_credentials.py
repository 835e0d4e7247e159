"""Published advisories about credentials: who is let in, and that nobody who is not ends the server by trying."""

from __future__ import annotations

import base64
import binascii
import json
import sys
import time
from typing import Any

import pytest

from auth.certificate import find_user
from auth.envelope import seal
from auth.evidence import CertificateFacts
from auth.nkey import KeyKind, KeyPair, NKeyError
from broker.config.errors import ConfigError
from broker.config.options import AuthorizationOptions, Options
from broker.flags import parse
from broker.monitor.endpoints import _ENDPOINTS, NOT_FOUND, answer
from broker.overrides import SECTIONS, apply
from tests.support.brokers import Broker
from tests.support.certificates import make_certificates
from tests.support.handshakes import offered_suites
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, serving
from tests.unit.monitor.scene import watched
from tls.context import server_context
from tls.policy import CertificatePair, TLSSettings

VIOLATION = b"-ERR 'Authorization Violation'"


def crafted(realm: Realm, **changes: Any) -> str:
    """A user's token with other content than any tool writes, yet signed by its account."""
    payload = {
        "jti": "X", "iat": realm.issued_at, "iss": realm.account_key.public, "name": "bob",
        "sub": realm.user_key.public, "nats": {"type": "user", "version": 2},
    }  # fmt: skip
    return seal(json.dumps(payload | changes).encode(), realm.account_key)


NULLS = [
    {"nats": None},
    {"nats": []},
    {"nats": {"type": "user", "version": 2, "pub": None, "sub": None, "resp": None}},
    {"nats": {"type": "user", "version": 2, "pub": [], "src": {}, "times": None}},
    {"nats": {"type": "user", "version": 2, "times": [None], "src": [None], "allowed_connection_types": [None]}},
    {"nats": {"type": "user", "version": 2, "resp": {}, "issuer_account": None}},
    {"nats": {"type": "account", "version": 2, "imports": [None], "exports": [None]}},
    {"sub": None},
    {"iss": None},
    {"iat": None, "exp": None, "nbf": None},
]


@pytest.mark.parametrize("changes", NULLS, ids=lambda changes: json.dumps(changes)[:40])
@in_every_loop
async def test_cve_2020_26521_odd_claims_end_no_server(changes: dict[str, Any]) -> None:
    """A user JWT that its account had signed with content that no tool writes ended the server: a nil dereference.

    Whatever the claims hold, the login is accepted or refused, and the server goes on serving others.
    """
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await Client.open(server)
        await client.greeting()
        signature = realm.user_key.sign(client.info["nonce"].encode())
        text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        await client.introduce(jwt=crafted(realm, **changes), sig=text)
        answer = await client.frame()
        assert answer == b"PONG" or answer.startswith(b"-ERR '")
        other = await realm.connect(server)
        assert await other.ping() == []


@pytest.mark.parametrize(("issued", "revoked", "admitted"), [(100, 99, True), (100, 100, False), (100, 101, False)])
@pytest.mark.parametrize("everybody", [False, True])
@in_every_loop
async def test_cve_2020_26892_revoked_users(issued: int, revoked: int, admitted: bool, everybody: bool) -> None:
    """Revocations were compared the wrong way, so that what had been revoked or had expired went on working.

    A user whose token is not younger than the revocation of its key, or of all keys, is refused.
    """
    realm = Realm(issued_at=int(time.time()) - 1000 + issued)
    moment = int(time.time()) - 1000 + revoked
    realm.account.nats.revocations["*" if everybody else realm.user_key.public] = moment
    async with serving(realm.options()) as server:
        client = await realm.attempt(server)
        assert await client.frame() == (b"PONG" if admitted else VIOLATION)


@pytest.mark.parametrize("who", ["user", "account"])
@in_every_loop
async def test_cve_2020_26892_expired_claims(who: str) -> None:
    """As above: nobody logs in with claims that have expired, be it the user's or the account's."""
    realm = Realm()
    claims = realm.user if who == "user" else realm.account
    claims.expires_at = int(time.time()) - 5
    async with serving(realm.options()) as server:
        client = await realm.attempt(server)
        assert await client.frame() == VIOLATION


@pytest.mark.parametrize("size", [0, 1, 8, 31, 33])
@in_every_loop
async def test_ghsa_g33f_6538_grxh_truncated_keys(size: int) -> None:
    """The issuer of a JWT could be a key of wrong length with a right checksum, which ended the server unasked.

    It names no key here, and the client is refused like any other.
    """
    raw = bytes([0 << 3]) + bytes(size)
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    key = base64.b32encode(raw + checksum).decode().rstrip("=")
    realm = Realm()
    async with serving(realm.options()) as server:
        for changes in ({"iss": key}, {"nats": {"type": "user", "version": 2, "issuer_account": key}}, {"sub": key}):
            client = await Client.open(server)
            await client.greeting()
            await client.introduce(jwt=crafted(realm, **changes), sig="A" * 86)
            assert await client.frame() == VIOLATION
        other = await realm.connect(server)
        assert await other.ping() == []


@pytest.mark.parametrize("restriction", ["allowed_connection_types: [WEBSOCKET]", "allowed_connection_types: [MQTT]"])
@pytest.mark.parametrize("word", [b"SUB > 1\r\n", b"PUB a 1\r\nx\r\n", b"PING\r\n", b"CONNECT {}\r\n"])
def test_ghsa_hmmp_q8cx_v964_restrictions_of_the_user_without_login(restriction: str, word: bytes) -> None:
    """A client that began with another verb than CONNECT became the ``no_auth_user``, whatever that one's restrictions.

    Whether it begins with CONNECT or not, a user who is for other kinds of connection is not given to it.
    """
    broker = Broker(
        f"accounts {{ A {{ users = [{{user: a, password: p, {restriction}}}, {{user: b, password: p}}] }} }}\n"
        "no_auth_user: a"
    )
    listener = broker.connect("b")
    listener.feed(b"SUB > 1\r\n")
    stranger = broker.open()
    assert VIOLATION in stranger.feed(word)
    assert stranger.close_reason is not None
    assert listener.said() == b""


SYSTEM_USER = "accounts { $SYS { users = [{user: s, password: p}] } }"


@pytest.mark.parametrize("login", ["user: a, password: p", "token: t"])
def test_cve_2023_47090_one_login_beside_accounts_is_refused(login: str) -> None:
    """Beside an ``authorization`` block, users of the system account made an implicit user that nobody had to prove.

    A single login and accounts exclude each other.
    """
    with pytest.raises(ConfigError, match="and accounts"):
        Broker(f"{SYSTEM_USER}\nauthorization {{ {login} }}")


def test_cve_2023_47090_a_system_account_opens_nothing() -> None:
    """As above: where some have to log in, everybody has to."""
    broker = Broker(f"{SYSTEM_USER}\nauthorization {{ users = [{{user: a, password: p}}] }}")
    assert broker.control.authenticator.required
    for word in (b"CONNECT {}\r\n", b"SUB > 1\r\n", b'CONNECT {"user":"","pass":""}\r\n'):
        stranger = broker.open()
        assert VIOLATION in stranger.feed(word)


def test_cve_2023_46129_sealed_texts_need_the_right_key() -> None:
    """What curve keys sealed was sealed with a fixed key, so that anybody could open it.

    Only the recipient opens it, only as the sender's, and two seals of one text differ.
    """
    sender, recipient, other = (KeyPair.generate(KeyKind.CURVE) for _ in range(3))
    sealed, again = (sender.seal(b"a secret", recipient.public) for _ in range(2))
    assert sealed != again
    assert recipient.open(sealed, sender.public) == b"a secret"
    for key, claimed in ((other, sender), (recipient, other), (sender, sender)):
        with pytest.raises(NKeyError):
            key.open(sealed, claimed.public)
    assert b"a secret" not in sealed


@pytest.mark.parametrize(
    "name", ["CN=Alice,CN=Alice,O=NATS", "CN=Alice,O=NATS,O=NATS", "O=NATS,CN=Alice", "CN=Alice,OU=Users,OU=Users"]
)
def test_cve_2026_33248_a_repeated_name_is_no_other_name(name: str) -> None:
    """With ``verify_and_map``, a user's name that repeats one part was proved by a certificate that had it only once.

    A subject is the name as a whole: as often each part, and no part left over.
    """
    subject = ((("O", "NATS"),), (("OU", "Users"),), (("CN", "Alice"),))
    facts = CertificateFacts(emails=(), dns_names=(), uris=(), subject=subject)
    assert find_user(facts, [name], lambda _: True) is None
    assert find_user(facts, ["CN=Alice,OU=Users,O=NATS"], lambda _: True) == "CN=Alice,OU=Users,O=NATS"


@pytest.mark.parametrize(
    "words",
    [
        ("--user", "root", "--pass", "unspeakable"),
        ("-user=root", "-pass=unspeakable"),
        ("--auth", "unspeakable"),
        ("--auth=unspeakable",),
        ("-c", "server.conf", "-routes", "nats://root:unspeakable@127.0.0.1:1"),
    ],
)
def test_cve_2026_33247_monitoring_shows_no_secret_of_the_command_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of monitoring showed the command line, with the password that stood there.

    The password is on none of the pages, whatever the flag that gave it and its spelling. (What shows the tasks of the
    loop shows no values at all.)
    """
    monkeypatch.setattr(sys, "argv", ["natskeep", *words])
    options = Options(host="127.0.0.1", authorization=AuthorizationOptions(user="root", password="unspeakable"))
    with watched(options) as scene:
        for path in sorted(set(_ENDPOINTS) - {"/stacksz"}):
            assert b"unspeakable" not in answer(scene, "GET", path, {"auth": "1", "subs": "1"}).body
        for path in ("/debug/pprof/", "/debug/pprof/cmdline"):
            assert answer(scene, "GET", path, {}) == NOT_FOUND


@pytest.mark.parametrize("offset", ["0", "1", "9223372036854775807", "-1", "9223372036854775808", "1" + "0" * 30])
@pytest.mark.parametrize("limit", ["0", "1", "9223372036854775807", "-1", "9223372036854775808"])
def test_ghsa_q59r_vq66_pxc2_pages_of_any_size(offset: str, limit: str) -> None:
    """Offset and limit of the list of connections could be so large that their sum overflowed, which ended the server.

    Every such request has an answer.
    """
    with watched(Options(host="127.0.0.1")) as scene:
        found = answer(scene, "GET", "/connz", {"offset": offset, "limit": limit})
        assert found.status in (200, 400)
        assert answer(scene, "GET", "/connz", {}).status == 200


def test_cve_2021_32026_flags_keep_the_cipher_suites(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Certificates given by flags replaced the whole TLS setting, and with it the restricted choice of cipher suites.

    The suites are those that would be used with the same certificates in the file.
    """
    directory = make_certificates(tmp_path_factory.mktemp("certificates")).directory
    certificate, key = str(directory / "server.pem"), str(directory / "server-key.pem")
    options = apply(parse(SECTIONS, ["-tlscert", certificate, "-tlskey", key]), Options())
    assert options.tls is not None
    by_flags = server_context(options.tls)
    by_file = server_context(TLSSettings(certificates=(CertificatePair(certificate, key),)))
    names = offered_suites(by_flags)
    assert names == offered_suites(by_file)
    assert all("GCM" in name or "CHACHA20" in name for name in names)
