"""Requests for streams and consumers, and messages for them: refused for what nats-server refuses, in its words.

A line of ``streams.jsonl`` is a subject, a payload, headers, and what nats-server said: null where it did what was
asked, the number and the text of an error, or ``silence``. They are said one behind the other to one server.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from nats.errors import TimeoutError as NatsTimeoutError

from broker import Server
from tests.support.streams import SECONDS, connected, keeping

RECORDED = Path(__file__).parent / "streams.jsonl"
SILENCE_SECONDS = 0.1


async def test_what_is_refused_and_what_is_not(tmp_path: Path) -> None:
    wrong = []
    lines = [json.loads(line) for line in await asyncio.to_thread(lambda: RECORDED.read_text().splitlines())]
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        for number, (subject, body, header, expected) in enumerate(lines, 1):
            patience = SILENCE_SECONDS if expected == "silence" else SECONDS
            try:
                answer = await client.request(subject, body.encode(), timeout=patience, headers=header)
            except NatsTimeoutError:
                found: object = "silence"
            else:
                error = json.loads(answer.data).get("error")
                # Where in a payload JSON ends was told by later releases only.
                found = error and [error["err_code"], error["description"].partition(" at offset ")[0]]
            if found != expected:
                wrong.append((number, subject, body[:200], found, expected))
    assert len(lines) > 800
    assert wrong == []
