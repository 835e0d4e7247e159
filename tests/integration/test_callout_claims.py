"""What an auth callout is told about a login, member by member as nats-server 2.14.5 tells it.

With NATSKEEP_REFERENCE=/path/to/nats-server the same logins are made at that server too.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest

from auth import jwt
from auth.challenge import decode_signature
from auth.claims import AccountClaims, UserClaims
from auth.nkey import KeyKind, KeyPair
from tests.support.callout import CURVE, ISSUER, Asked, admit, payload_of, service
from tests.support.certificates import make_certificates
from tests.support.ports import reserve_port
from tests.support.realm import Realm
from tests.support.servers import ServerProcess, Target, targets

TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
USER = KeyPair(KeyKind.USER, bytes([71]) * 32)
ENCRYPTED = f", xkey: {CURVE.public}"
CONFIGURATION = """
listen: 127.0.0.1:{port}
server_name: asking
server_tags: [zone:a]
accounts {{
  AUTH {{ users: [ {{ user: auth, password: pw }}, {{ nkey: {nkey} }} ] }}
  APP {{}}
}}
authorization {{ timeout: 5, auth_callout {{ issuer: {issuer}, account: AUTH, auth_users: [auth]{more} }} }}
{tls}
"""
TLS = "tls {{ cert_file: {0}/server.pem, key_file: {0}/server-key.pem, ca_file: {0}/ca.pem, verify: true, timeout: 5 }}"
OTHER_NKEY = KeyPair(KeyKind.USER, bytes([72]) * 32)
"""A user of the configuration with an nkey, so that every server sends a nonce."""

CLIENT = {"host": "127.0.0.1", "id": "NUMBER", "kind": "Client", "type": "nats"}
PROGRAM = {"lang": "python3", "version": nats.aio.client.__version__, "protocol": 1}


def expected(client_info: dict[str, Any], connect_opts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The whole of a request; what differs from one login to the next is named by capital letters."""
    server = {"name": "asking", "host": "127.0.0.1", "id": "SERVER", "version": "2.14.5", "tags": ["zone:a"]}
    return {
        "aud": "nats-authorization-request",
        "exp": "TIME",
        "jti": "HASH",
        "iat": "TIME",
        "iss": "SERVER",
        "sub": ISSUER.public,
        "nats": {
            "server_id": server | more.pop("server_id", {}),
            "user_nkey": "KEY",
            "client_info": CLIENT | client_info,
            "connect_opts": connect_opts | PROGRAM,
            **more,
            "type": "authorization_request",
            "version": 2,
        },
    }


def named(token: str) -> dict[str, Any]:
    """What a request says, with names in place of what differs each time."""
    found = payload_of(token)
    server = found["iss"]
    assert found["exp"] - found["iat"] in {5, 6}
    assert found["nats"]["user_nkey"].startswith("U")
    found |= {"exp": "TIME", "iat": "TIME", "jti": "HASH", "iss": "SERVER"}
    assert found["nats"]["server_id"]["id"] == server
    found["nats"]["server_id"]["id"] = "SERVER"
    if "xkey" in found["nats"]["server_id"]:
        found["nats"]["server_id"]["xkey"] = "CURVE"
    found["nats"]["user_nkey"] = "KEY"
    found["nats"]["client_info"]["id"] = "NUMBER"
    return found


async def asked(target: Target, tmp_path: Path, more: str = "", block: str = "", **login: Any) -> Asked:
    """What the service of a server is asked about one login."""
    port = reserve_port()
    text = CONFIGURATION.format(port=port, issuer=ISSUER.public, nkey=OTHER_NKEY.public, more=more, tls=block)
    file = tmp_path / "asking.conf"
    file.write_text(text)
    url = f"{'tls' if block else 'nats'}://127.0.0.1:{port}"
    options = {"tls": login["tls"]} if "tls" in login else {}
    with ServerProcess(target, ["-c", str(file)], tmp_path) as server:
        assert server.wait_until_ready(), server.output
        async with service(url, admit, **options) as made:
            client = await nats.connect(url, allow_reconnect=False, **login)
            await client.close()
        [found] = made.asked
        return found


@TARGETS
def test_user_and_password(target: Target, tmp_path: Path) -> None:
    found = asyncio.run(asked(target, tmp_path, user="bob", password="secret", name="program"))
    assert named(found.token) == expected(
        {"user": "bob", "name": "program"}, {"user": "bob", "pass": "secret", "name": "program"}
    )
    assert found.message.headers is None


@TARGETS
def test_a_token(target: Target, tmp_path: Path) -> None:
    found = asyncio.run(asked(target, tmp_path, token="t0ken"))
    assert named(found.token) == expected({"user": "[REDACTED]"}, {"auth_token": "t0ken"})


@TARGETS
def test_an_nkey_and_its_signature(target: Target, tmp_path: Path) -> None:
    found = asyncio.run(asked(target, tmp_path, nkeys_seed_str=USER.seed))
    claims = named(found.token)
    client, connect = claims["nats"]["client_info"], claims["nats"]["connect_opts"]
    # The service can see for itself that the client holds the key.
    USER.verify(client["nonce"].encode(), decode_signature(connect["sig"]))
    client["nonce"], connect["sig"] = "NONCE", "SIGNATURE"
    assert claims == expected(
        {"user": USER.public, "nonce": "NONCE"}, {"nkey": USER.public, "sig": "SIGNATURE"}
    )


@TARGETS
def test_an_encrypted_request(target: Target, tmp_path: Path) -> None:
    found = asyncio.run(asked(target, tmp_path, ENCRYPTED, user="bob", password="secret"))
    assert named(found.token) == expected(
        {"user": "bob"}, {"user": "bob", "pass": "secret"}, server_id={"xkey": "CURVE"}
    )
    assert found.message.headers == {"Nats-Server-Xkey": found.claims.nats.server_id.xkey}
    assert found.message.data.startswith(b"xkv1")


@TARGETS
def test_members_stand_in_their_order(target: Target, tmp_path: Path) -> None:
    found = asyncio.run(asked(target, tmp_path, ENCRYPTED, user="bob", password="secret", name="program"))
    wanted = expected(
        {"user": "bob", "name": "program"},
        {"user": "bob", "pass": "secret", "name": "program"},
        server_id={"xkey": "CURVE"},
    )
    payload = payload_of(found.token)
    assert list(payload) == list(wanted)
    assert list(payload["nats"]) == list(wanted["nats"])
    assert list(payload["nats"]["client_info"]) == ["host", "id", "user", "name", "kind", "type"]
    assert list(payload["nats"]["connect_opts"]) == ["user", "pass", "name", "lang", "version", "protocol"]


@TARGETS
def test_a_client_certificate(target: Target, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    context.load_cert_chain(tmp_path / "plain.pem", tmp_path / "plain-key.pem")
    tls = TLS.format(tmp_path)
    found = asyncio.run(asked(target, tmp_path, block=tls, tls=context, user="bob", password="secret"))
    encryption = payload_of(found.token)["nats"]["client_tls"]
    assert set(encryption) == {"version", "cipher", "verified_chains"}
    assert encryption["version"] == "1.3"
    assert encryption["cipher"].startswith("TLS_")
    [[own, *_]] = encryption["verified_chains"]
    assert own == (tmp_path / "plain.pem").read_text()


OPERATED = """
listen: 127.0.0.1:{port}
server_name: asking
server_tags: [zone:a]
operator: {operator}
system_account: {system}
resolver: MEMORY
resolver_preload: {{ {account}: {token}, {system}: {system_token} }}
authorization {{ timeout: 5 }}
"""


async def asked_with_an_operator(target: Target, tmp_path: Path, realm: Realm) -> Asked:
    """The same where the client's own JWT names the account of the service."""
    port, service_key, system = reserve_port(), KeyPair.generate(KeyKind.USER), KeyPair.generate(KeyKind.ACCOUNT)
    realm.account.nats.authorization.auth_users = [service_key.public]
    realm.user.nats.bearer_token = True
    file = tmp_path / "asking.conf"
    file.write_text(OPERATED.format(
        port=port,
        operator=jwt.encode(realm.operator, realm.operator_key),
        system=system.public,
        system_token=jwt.encode(AccountClaims.new(system.public), realm.operator_key),
        account=realm.account_key.public,
        token=realm.account_token(),
    ))

    async def decide(one: Asked) -> bytes:
        bent = replace(one, signer=realm.account_key, user_signer=realm.account_key)
        return bent.sealed(bent.admitting(bent.claimed_user(audience="")))

    url = f"nats://127.0.0.1:{port}"
    token = jwt.encode(UserClaims.new(service_key.public), realm.account_key)
    proof: dict[str, Any] = {
        "user": None,
        "password": None,
        "user_jwt_cb": token.encode,
        "signature_cb": lambda nonce: base64.b64encode(service_key.sign(nonce.encode())),
    }
    with ServerProcess(target, ["-c", str(file)], tmp_path) as server:
        assert server.wait_until_ready(), server.output
        async with service(url, decide, **proof) as made:
            client = await nats.connect(
                url,
                allow_reconnect=False,
                user_jwt_cb=lambda: realm.token().encode(),
                signature_cb=lambda nonce: base64.b64encode(realm.user_key.sign(nonce.encode())),
            )
            await client.close()
        [found] = made.asked
        return found


@TARGETS
def test_a_user_of_an_operator(target: Target, tmp_path: Path) -> None:
    realm = Realm()
    realm.user.nats.tags = ["team:red"]
    found = asyncio.run(asked_with_an_operator(target, tmp_path, realm))
    claims = named(found.token)
    client, connect = claims["nats"]["client_info"], claims["nats"]["connect_opts"]
    assert client.pop("nonce")
    assert connect.pop("sig")
    assert connect.pop("jwt") == realm.token()
    wanted = {"user": realm.user_key.public, "name_tag": "bob", "tags": ["team:red"]}
    assert claims == expected(wanted, {}) | {"sub": realm.account_key.public}
