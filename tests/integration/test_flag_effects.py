"""The flags have their effect: on what the server says, on who gets in, and on the log."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import broker.log.syslog
from broker.config.options import Options
from broker.flags import parse
from broker.log import TRACE, TRACES, configure
from broker.overrides import SECTIONS, apply
from tests.integration.test_monitor import ask, client_context
from tests.support.certificates import Certificates, make_certificates
from tests.support.logs import logs_as_before
from tests.support.serving import Client, SecureClient, serving

SECONDS = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def options(*words: str) -> Options:
    return apply(parse(SECTIONS, words), Options())


# What the server says.


@pytest.mark.parametrize("flag", ["-n", "--name", "--server_name"])
async def test_name(flag: str) -> None:
    async with serving(options(flag, "here")) as server:
        assert (await (await Client.open(server)).greeting())["server_name"] == "here"


async def test_client_advertise() -> None:
    async with serving(options("-client_advertise", "far.example:9")) as server:
        info = await (await Client.open(server)).greeting()
        assert (info["host"], info["port"]) == ("far.example", 9)


@pytest.mark.parametrize("flag", ["-m", "--http_port"])
async def test_http_port(flag: str) -> None:
    async with serving(options(flag, "-1")) as server:
        assert (await ask(server, "/varz")).json["http_port"] == server.monitor_port


@pytest.mark.parametrize("flag", ["-ms", "--https_port"])
async def test_https_port(flag: str, certificates: Certificates) -> None:
    async with serving(options(flag, "-1", *pair(certificates))) as server:
        reply = await ask(server, "/varz", context=client_context(certificates))
        assert reply.json["https_port"] == server.monitor_port


# Who gets in.


async def told(client: Client, **connect: str) -> bytes:
    await client.greeting()
    await client.introduce(**connect)
    return await client.rest()


async def test_user_and_pass() -> None:
    async with serving(options("--user", "ann", "--pass", "x")) as server:
        await Client.connect(server, user="ann", **{"pass": "x"})
        assert b"Authorization Violation" in await told(await Client.open(server), user="ann", **{"pass": "y"})


async def test_auth() -> None:
    async with serving(options("--auth", "t")) as server:
        await Client.connect(server, auth_token="t")
        assert b"Authorization Violation" in await told(await Client.open(server), auth_token="u")


def pair(certificates: Certificates) -> list[str]:
    directory = certificates.directory
    return ["--tlscert", f"{directory}/server.pem", "--tlskey", f"{directory}/server-key.pem"]


async def test_tls(certificates: Certificates) -> None:
    async with serving(options("--tls", *pair(certificates))) as server:
        client = await SecureClient.secured(server, client_context(certificates))
        assert client.info["tls_required"] is True
    async with serving(options("--tls=false", *pair(certificates))) as server:
        assert "tls_required" not in await (await Client.open(server)).greeting()


async def test_tlsverify_and_tlscacert(certificates: Certificates) -> None:
    authority = ["--tlscacert", f"{certificates.directory}/ca.pem"]
    async with serving(options("--tlsverify", *pair(certificates), *authority)) as server:
        await SecureClient.secured(server, client_context(certificates, "plain"))
        for context in (client_context(certificates), client_context(certificates, "evil")):
            with pytest.raises((EOFError, ssl.SSLError)):
                await SecureClient.secured(server, context)


# The log.


@pytest.fixture
def as_before() -> Iterator[None]:
    with logs_as_before():
        yield


def logged(path: Path, *words: str) -> str:
    """What a log with these flags holds after a line of each kind."""
    configure(options("-l", str(path), *words).logging)
    for level in (logging.DEBUG, logging.INFO):
        logging.getLogger("natskeep.net").log(level, "said")
    logging.getLogger(TRACES).log(TRACE, "said")
    return path.read_text()


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("-D", "DBG INF"), ("--debug", "DBG INF"), ("-V", "INF TRC"), ("--trace", "INF TRC"), ("-VV", "INF TRC"),
        ("-DV", "DBG INF TRC"), ("-DVV", "DBG INF TRC"), ("-D=false", "INF"),
    ],
)  # fmt: skip
def test_levels(word: str, labels: str, tmp_path: Path, as_before: None) -> None:
    assert re.findall(r"\[([A-Z]{3})\] said", logged(tmp_path / "log", word)) == labels.split()


def test_times(tmp_path: Path, as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5")
    time.tzset()
    before = time.gmtime()
    utc = logged(tmp_path / "utc", "--logtime_utc")
    local = logged(tmp_path / "local")
    monkeypatch.undo()
    time.tzset()
    hours = {before.tm_hour, time.gmtime().tm_hour}
    assert int(re.findall(r" (\d\d):", utc)[0]) in hours
    assert int(re.findall(r" (\d\d):", local)[0]) in {(hour + 5) % 24 for hour in hours}
    for word in ("-T=false", "--logtime=false"):
        assert re.fullmatch(r"\[\d+\] \[INF\] said\n", logged(tmp_path / word, word))


@pytest.mark.parametrize("flag", ["-s", "--syslog"])
def test_syslog(flag: str, tmp_path: Path, as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.log.syslog, "LOCAL_SOCKETS", (str(tmp_path / "daemon"),))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "daemon"))
        daemon.settimeout(SECONDS)
        configure(options(flag).logging)
        logging.getLogger("natskeep.net").info("said")
        assert daemon.recv(65536).endswith(b": said\n")


async def test_max_traced_msg_len(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, TRACES)
    async with serving(options("-V", "--max_traced_msg_len", "3")) as server:
        client = await Client.connect(server)
        await client.send(b"PUB a 6\r\nabcdef\r\n")
        await client.ping()
    assert any('MSG_PAYLOAD: ["abc..."]' in line for line in caplog.messages), caplog.messages
