"""What is told of the process, and what is not."""

from __future__ import annotations

import asyncio
import json

import pytest

from broker.monitor import runtime
from broker.monitor.runtime import stacks, without_secrets
from broker.monitor.wording import indented


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["natskeep", "-c", "user"], ["natskeep", "-c", "user"]),
        (["-user", "ann", "-pass", "p", "-m", "1"], ["-user", "[REDACTED]", "-pass", "[REDACTED]", "-m", "1"]),
        (["n", "--pass=p", "--auth=-auth"], ["n", "--pass=[REDACTED]", "--auth=[REDACTED]"]),
        (["n", "-auth", "-pass", "-D"], ["n", "-auth", "[REDACTED]", "-D"]),
        (["n", "-routes", "nats://r:s@h:1,nats://x@i"], ["n", "-routes", "nats://[REDACTED]@h:1,nats://[REDACTED]@i"]),
        (["n", "-r", "udp://host:514"], ["n", "-r", "udp://host:514"]),
    ],
)
def test_command_line_without_secrets(words: list[str], shown: list[str]) -> None:
    assert without_secrets(words) == shown


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "argv", ["natskeep", "-pass", "hidden"])
    found = json.loads(indented(runtime.variables()))
    assert found["cmdline"] == ["natskeep", "-pass", "[REDACTED]"]
    memory = found["memstats"]
    assert list(memory) == ["Sys", "HeapObjects", "NumGC", "EnableGC"]
    assert memory["Sys"] > 1_000_000
    assert memory["HeapObjects"] > 10_000
    assert memory["EnableGC"] is True


async def test_stacks_of_threads_and_tasks() -> None:
    never = asyncio.get_running_loop().create_future()

    async def waits_for_something() -> None:
        password = "hidden"
        await never
        raise ValueError(password)

    task = asyncio.get_running_loop().create_task(waits_for_something(), name="the waiting one")
    await asyncio.sleep(0)
    found = stacks()
    assert "thread MainThread:" in found
    assert "task the waiting one:" in found
    assert "test_runtime.py" in found
    assert "waits_for_something" in found
    task.cancel()
    await asyncio.wait([task])
