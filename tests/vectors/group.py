"""Serves a group of vectors with one server and compares each with what it expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target
from tests.vectors.client import Address, observe
from tests.vectors.vector import Vector

COMPARED = (
    "outcome",
    "account",
    "user",
    "issuer_key",
    "name_tag",
    "tags",
    "max_payload",
    "lines",
    "probes",
    "after",
)
DOES_NOT_START = "server does not start"
EXIT_SECONDS = 10.0


def observe_group(vectors: Sequence[Vector], target: Target, directory: Path) -> dict[str, dict[str, Any]]:
    """What came of each vector, by name; all of them have the same configuration."""
    address = Address(reserve_port(), reserve_port())
    values = {"PORT": address.port, "HTTP": address.http_port, "LEAF": reserve_port(), "DIR": directory}
    file = directory / "server.conf"
    file.write_text(re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), vectors[0].config))
    with ServerProcess(target, ["-c", str(file)], directory, {"TZ": "UTC"}, preforked=True) as server:
        if not server.wait_until_ready():
            code = server.wait_until_exit(EXIT_SECONDS)
            outcome = DOES_NOT_START if code else f"server neither starts nor fails: exit code {code}"
            return {vector.name: {"outcome": outcome, "message": server.output} for vector in vectors}
        return {vector.name: _observe(vector, address) for vector in vectors}


def _observe(vector: Vector, address: Address) -> dict[str, Any]:
    try:
        return observe(vector, address)
    except OSError as error:
        return {"outcome": f"no connection: {error}"}


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[str]:
    """One line for each compared field that is not as expected; a ``message`` need only be part of the output."""
    for field in COMPARED:
        if expected.get(field) != found.get(field):
            yield f"{field}: expected {json.dumps(expected.get(field))}, got {json.dumps(found.get(field))}"
    message = expected.get("message", "")
    if message not in found.get("message", ""):
        yield f"message: expected {message!r} in {found.get('message', '')!r}"
