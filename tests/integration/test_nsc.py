"""nsc against a full resolver: what it once asked and was answered, asked again; and nsc itself where one is named.

With NATSKEEP_NSC=/path/to/nsc that program pushes, pulls and prunes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from auth.nkey import KeyPair
from broker.app import Server
from broker.config.options import OperatorOptions, Options, ResolverKind, ResolverOptions
from tests.support.serving import Client, serving

EXCHANGE = Path(__file__).parent / "exchanges" / "nsc_full_resolver.yaml"
NSC = os.environ.get("NATSKEEP_NSC", "")


async def replay(directory: Path) -> None:
    """Asks what nsc asked, and is answered as it was."""
    recorded: dict[str, Any] = yaml.safe_load(EXCHANGE.read_text())
    options = Options(
        operators=(OperatorOptions(recorded["operator"]),),
        system_account=recorded["system_account"],
        resolver=ResolverOptions(ResolverKind.FULL, directory=str(directory), allow_delete=True),
        resolver_preload=recorded["preload"],
        max_control_line=8192,
    )
    async with serving(options) as server:
        client = await Client.open(server)
        info = await client.greeting()
        signature = KeyPair.from_seed(recorded["seed"]).sign(info["nonce"].encode())
        await client.introduce(jwt=recorded["user"], sig=base64.urlsafe_b64encode(signature).decode().rstrip("="))
        assert await client.frame() == b"PONG"
        for number, asked in enumerate(recorded["requests"]):
            body = asked["payload"].encode()
            line = f"SUB _INBOX.{number} {number}\r\nPUB {asked['subject']} _INBOX.{number} {len(body)}\r\n"
            await client.send(line.encode() + body + b"\r\n")
            found = [(await client.frame()).partition(b"\r\n")[2] for _ in asked["answers"]]
            assert [without_server(one) for one in found] == [without_server(one.encode()) for one in asked["answers"]]


def without_server(body: bytes) -> Any:
    """An answer without the facts of the server."""
    if not body.startswith(b"{"):
        return body
    answer = json.loads(body)
    answer.pop("server", None)
    return answer


async def run(directory: Path) -> None:
    """Has nsc push all, pull all, remove one account, push it again and prune it."""
    home = str(directory / "home")
    places = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}

    def nsc(*words: str) -> str:
        done = subprocess.run(
            [NSC, *words],
            env={**os.environ, **places, "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    async def said(*words: str) -> str:
        return await asyncio.to_thread(nsc, *words)

    await said("add", "operator", "-n", "O", "--sys")
    for name in ("A", "B"):
        await said("add", "account", name)
    described = await said("describe", "operator", "--raw")
    operator = re.search(r"eyJ\S+", described)
    assert operator is not None
    jwts = directory / "jwts"
    options = Options(
        operators=(OperatorOptions(operator[0]),),
        resolver=ResolverOptions(ResolverKind.FULL, directory=str(jwts), allow_delete=True),
    )
    async with serving(replace(options, max_control_line=8192)) as server:
        url = url_of(server)
        await said("edit", "operator", "--service-url", url, "--account-jwt-server-url", url)
        assert (await said("push", "-A")).count("jwt updated") == 3
        assert len(names(jwts, ".jwt")) == 3
        assert (await said("pull", "-A")).count("stored account") == 3
        assert "deleted 1 accounts" in await said("push", "-R", "B")
        assert (len(names(jwts, ".jwt")), len(names(jwts, ".deleted"))) == (2, 1)
        assert "jwt updated" in await said("push", "-a", "B")
        await said("delete", "account", "B", "--force")
        pruned = await said("push", "--prune")
        assert "list 3 accounts" in pruned
        assert "deleted 1 accounts" in pruned
        assert len(names(jwts, ".jwt")) == 2


def url_of(server: Server) -> str:
    return f"nats://127.0.0.1:{server.port}"


def names(directory: Path, suffix: str) -> list[str]:
    return [path.name for path in directory.iterdir() if path.suffix == suffix]


@pytest.mark.parametrize("exchange", [replay, *([run] if NSC else [])])
async def test_nsc_and_a_full_resolver(tmp_path: Path, exchange: Callable[[Path], Any]) -> None:
    await exchange(tmp_path)
