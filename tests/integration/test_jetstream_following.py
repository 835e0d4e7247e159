"""Mirrors are copies, and sources flow together, within an account and across its wall."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from broker import Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.support.streams import SECONDS, ask, connected, keeping, made, said


async def arrived(client: Client, stream: str, last: int) -> dict[str, Any]:
    """Waits until a stream has come to a sequence; its description."""
    async with asyncio.timeout(SECONDS):
        while True:
            info: dict[str, Any] = await ask(client, f"STREAM.INFO.{stream}")
            if info["state"]["last_seq"] >= last:
                return info
            await asyncio.sleep(0.01)


async def messages(client: Client, stream: str) -> list[tuple[str, bytes, str]]:
    """Subject, payload and the first line of the header of each message."""
    found = []
    state = (await ask(client, f"STREAM.INFO.{stream}"))["state"]
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        answer = await ask(client, f"STREAM.MSG.GET.{stream}", {"seq": sequence})
        if "message" in answer:
            message = answer["message"]
            header = b64decode(message.get("hdrs", "")).decode().split("\r\n")
            found.append((message["subject"], b64decode(message.get("data", "")), header[1] if len(header) > 1 else ""))
    return found


async def test_a_mirror_keeps_sequences_and_times(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "O", subjects=["o.>"])
        for number in range(5):
            await said(client, f"o.{number}", b"%d" % number)
        await ask(client, "STREAM.MSG.DELETE.O", {"seq": 2})
        await made(client, "M", mirror={"name": "O"})
        info = await arrived(client, "M", 5)
        assert info["mirror"]["name"] == "O"
        assert info["mirror"]["lag"] == 0
        assert (info["state"]["messages"], info["state"]["num_deleted"]) == (4, 1)
        one = (await ask(client, "STREAM.MSG.GET.O", {"seq": 3}))["message"]
        assert (await ask(client, "STREAM.MSG.GET.M", {"seq": 3}))["message"] == one
        await said(client, "o.9", b"later")
        await arrived(client, "M", 6)


async def test_sources_flow_together_and_go_on_after_a_restart(tmp_path: Path) -> None:
    sources = [
        {"name": "A", "filter_subject": "a.*"},
        {"name": "B", "subject_transforms": [{"src": "b.>", "dest": "from.b.>"}]},
    ]
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "T", sources=sources)
        await made(client, "A", subjects=["a.>"])
        await made(client, "B", subjects=["b.>"])
        await said(client, "a.1", b"one")
        await said(client, "a.1.x", b"not wanted")
        await arrived(client, "T", 1)
        await said(client, "b.1", b"two")
        info = await arrived(client, "T", 2)
        assert await messages(client, "T") == [
            ("a.1", b"one", "Nats-Stream-Source: A 1 a.* > a.1"),
            ("from.b.1", b"two", "Nats-Stream-Source: B 1 b.> from.b.> b.1"),
        ]
        assert [one["name"] for one in info["sources"]] == ["A", "B"]
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await said(client, "a.2", b"three")
        await arrived(client, "T", 3)
        assert [payload for _, payload, _ in await messages(client, "T")] == [b"one", b"two", b"three"]


ACROSS = """
    listen: "127.0.0.1:-1"
    jetstream {{ store_dir: "{directory}" }}
    accounts {{
      HUB {{
        jetstream: enabled
        users: [ {{ user: hub, password: pw }} ]
        exports: [
          {{ service: "$JS.API.>", response_type: stream }}
          {{ service: "$JS.FC.>" }}
          {{ stream: "deliver.>" }}
        ]
      }}
      EDGE {{
        jetstream: enabled
        users: [ {{ user: edge, password: pw }} ]
        imports: [
          {{ service: {{ account: HUB, subject: "$JS.API.>" }}, to: "HUB.API.>" }}
          {{ service: {{ account: HUB, subject: "$JS.FC.>" }} }}
          {{ stream: {{ account: HUB, subject: "deliver.>" }} }}
        ]
      }}
    }}
"""


async def test_a_source_beyond_the_wall(tmp_path: Path) -> None:
    options = read_options(parse_bytes(ACROSS.format(directory=tmp_path).encode(), "t.conf", {})).options
    async with (
        Server(options) as server,
        connected(server, user="hub", password="pw") as hub,
        connected(server, user="edge", password="pw") as edge,
    ):
        await made(hub, "O", subjects=["o.>"])
        await said(hub, "o.1", b"before")
        external = {"api": "HUB.API", "deliver": "deliver.edge"}
        await made(edge, "S", sources=[{"name": "O", "external": external}])
        await arrived(edge, "S", 1)
        await said(hub, "o.2", b"after")
        info = await arrived(edge, "S", 2)
        assert [(subject, payload) for subject, payload, _ in await messages(edge, "S")] == [
            ("o.1", b"before"),
            ("o.2", b"after"),
        ]
        assert info["sources"][0]["external"] == external
        assert json.dumps(info["sources"][0].get("error")) == "null"
