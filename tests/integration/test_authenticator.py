"""A function of the embedding program that decides who a client is: what it is told, and how it may end."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounts.limits import UserLimits
from accounts.permissions import Grant, Permissions, SubjectRules
from auth.login import Authenticate
from auth.nkey import KeyKind, KeyPair
from auth.settings import SettingsError
from broker import Admission, Login, Options, Server
from broker.config.options import AccountOptions, AuthorizationOptions, CalloutOptions, TLSOptions, UserOptions
from tests.support.callout import ISSUER
from tests.support.certificates import make_certificates
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, SecureClient, serving, session_of, until

VIOLATION = b"-ERR 'Authorization Violation'\r\n"


def options(authenticator: Authenticate, *, timeout: float | None = None, **changes: Any) -> Options:
    return Options(
        accounts=(AccountOptions(name="APP", users=(UserOptions(user="fixed", password="pw"),)),),
        authorization=AuthorizationOptions(timeout=timeout),
        authenticator=authenticator,
        **changes,
    )


async def attempt(server: Server, **fields: Any) -> Client:
    client = await Client.open(server)
    await client.greeting()
    await client.introduce(**fields)
    return client


async def login(server: Server, **fields: Any) -> Client:
    client = await attempt(server, **fields)
    assert await client.frame() == b"PONG"
    return client


@in_every_loop
async def test_a_function_admits() -> None:
    seen: list[Login] = []

    async def decide(shown: Login) -> Admission | None:
        seen.append(shown)
        return Admission(
            account="APP",
            user=f"user of {shown.client_name}",
            permissions=Permissions(publish=SubjectRules(allow=(Grant("yes"),))),
            limits=UserLimits(subscriptions=1),
            tags=("team:red",),
        )

    async with serving(options(decide)) as server:
        await login(server, user="fixed", **{"pass": "pw"})
        assert seen == []
        client = await login(server, user="bob", name="program", lang="c", version="3", **{"pass": "secret"})
        [shown] = seen
        assert (shown.user, shown.password, shown.client_name, shown.remote_ip) == (
            "bob", "secret", "program", "127.0.0.1",
        )
        assert (shown.language, shown.version, shown.tls, shown.certificate) == ("c", "3", None, None)
        assert "secret" not in repr(shown)
        principal = session_of(server, client).principal
        assert principal is not None
        assert (principal.account.name, principal.user, principal.method) == ("APP", "user of program", "authenticator")
        assert principal.tags == ("team:red",)
        await client.send(b"PUB yes 0\r\n\r\nPUB no 0\r\n\r\nSUB a 1\r\nSUB b 2\r\n")
        assert await client.ping() == [
            b"-ERR 'Permissions Violation for Publish to \"no\"'",
            b"-ERR 'maximum subscriptions exceeded'",
        ]


@in_every_loop
async def test_an_nkey_is_for_the_function_to_look_at() -> None:
    seed = KeyPair.generate(KeyKind.USER)

    async def decide(shown: Login) -> Admission | None:
        return Admission(account="APP") if shown.nkey == seed.public and shown.holds_nkey() else None

    async with serving(options(decide)) as server:
        client = await Client.open(server)
        nonce = (await client.greeting())["nonce"].encode()
        signature = base64.urlsafe_b64encode(seed.sign(nonce)).decode().rstrip("=")
        await client.introduce(nkey=seed.public, sig=signature)
        assert await client.frame() == b"PONG"
        refused = await attempt(server, nkey=seed.public, sig=signature)
        assert await refused.rest() == VIOLATION


@in_every_loop
async def test_the_connection_ends_when_the_admission_does() -> None:
    async def decide(shown: Login) -> Admission:
        return Admission(account="APP", user="bob", expires_at=time.time() + 0.3)

    async with serving(options(decide)) as server:
        client = await login(server)
        assert await client.rest() == b"-ERR 'User Authentication Expired'\r\n"


async def nobody(shown: Login) -> None:
    """Says no."""


async def broken(shown: Login) -> Admission:
    raise KeyError(shown.password)


async def hanging(shown: Login) -> Admission:
    await asyncio.Event().wait()
    return Admission(account="APP")


async def gives_up(shown: Login) -> Admission:
    raise asyncio.CancelledError


async def elsewhere(shown: Login) -> Admission:
    return Admission(account="NONE")


async def outdated(shown: Login) -> Admission:
    return Admission(account="APP", expires_at=time.time() - 1)


async def unclear(shown: Login) -> Admission:
    return Admission(account="APP", permissions=Permissions(publish=SubjectRules(allow=(Grant("a..b"),))))


async def yes(shown: Login) -> Any:
    return True


@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (nobody, "Authenticator of the program denied"),
        (broken, "Authenticator of the program failed: KeyError"),
        (hanging, "did not answer in time"),
        (gives_up, "Authenticator of the program failed: it was cancelled"),
        (elsewhere, 'account "NONE" is not defined'),
        (outdated, "what it decided has expired"),
        (unclear, "Authenticator of the program failed"),
        (yes, "it returned no Admission"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@in_every_loop
async def test_everything_else_is_a_refusal(decide: Authenticate, why: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(options(decide, timeout=0.3)) as server:
        client = await attempt(server, user="bob", **{"pass": "secret"})
        assert await client.rest() == VIOLATION
        assert why in caplog.text
        assert "denial" in caplog.text
        assert "secret" not in caplog.text
        assert len(server.service.control.desk) == 0
        await login(server, user="fixed", **{"pass": "pw"})


@in_every_loop
async def test_a_stop_calls_functions_off() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def decide(shown: Login) -> Admission:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(shown.user)
        return Admission()

    async with serving(options(decide)) as server:
        await attempt(server, user="bob")
        await begun.wait()
    assert ended == ["bob"]


@in_every_loop
async def test_another_function_keeps_nobody_of_the_first(caplog: pytest.LogCaptureFixture) -> None:
    async def one(shown: Login) -> Admission:
        return Admission(account="APP", user="bob")

    async def other(shown: Login) -> Admission:
        return Admission(account="APP", user="bob")

    async with serving(options(one)) as server:
        client = await login(server)
        await server.reload(replace(server.options, max_payload=100_000))
        assert await client.ping() == []
        await server.reload(replace(server.options, authenticator=other))
        assert VIOLATION in await client.rest()
        assert "Whoever admitted the user decides no longer" in caplog.text
        await login(server)


@in_every_loop
async def test_a_verified_certificate_is_shown(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    seen: list[Login] = []

    async def decide(shown: Login) -> Admission:
        seen.append(shown)
        return Admission(account="APP", user="bob")

    tls = TLSOptions(
        cert_file=str(tmp_path / "server.pem"),
        key_file=str(tmp_path / "server-key.pem"),
        ca_file=str(tmp_path / "ca.pem"),
        verify=True,
    )
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    context.load_cert_chain(tmp_path / "plain.pem", tmp_path / "plain-key.pem")
    async with serving(options(decide, tls=tls)) as server:
        await SecureClient.secured(server, context)
        [shown] = seen
        assert shown.tls is not None
        assert shown.tls[0] == "TLSv1.3"
        assert shown.certificate is not None
        assert ssl.DER_cert_to_PEM_cert(shown.certificate) == (tmp_path / "plain.pem").read_text()


def test_one_decides_and_not_two() -> None:
    callout = CalloutOptions(issuer=ISSUER.public, account="APP", users=("fixed",))
    both = replace(options(hanging), authorization=AuthorizationOptions(callout=callout))
    with pytest.raises(SettingsError, match="exclude each other"):
        asyncio.run(_start(both))
    with pytest.raises(SettingsError, match="operators do not allow an authenticator of the program"):
        asyncio.run(_start(Realm().options(authenticator=hanging)))


async def _start(wanted: Options) -> None:
    async with Server(replace(wanted, host="127.0.0.1", port=-1)):
        await until(lambda: True)
