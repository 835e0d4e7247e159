"""An operator whose accounts come from a resolver: what a test pushes, asks for and puts into directories."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from auth import jwt
from auth.claims import GenericClaims
from auth.nkey import KeyPair
from broker.app import Server
from broker.config.options import Options, ResolverKind, ResolverOptions
from tests.support.realm import Realm
from tests.support.serving import Client

UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
DELETE = "$SYS.REQ.CLAIMS.DELETE"
LIST = "$SYS.REQ.CLAIMS.LIST"
PACK = "$SYS.REQ.CLAIMS.PACK"

_NUMBERS = count(1000)


def lookup(name: str) -> str:
    return f"$SYS.REQ.ACCOUNT.{name}.CLAIMS.LOOKUP"


@dataclass
class Estate:
    """An operator with a system account and two accounts of its own."""

    realm: Realm = field(default_factory=Realm)

    def __post_init__(self) -> None:
        self.system = self.realm.neighbour("SYS")
        self.other = self.realm.neighbour("OTHER")
        self.realm.operator.nats.system_account = self.system.account_key.public

    @property
    def name(self) -> str:
        """The account of the realm."""
        return self.realm.account_key.public

    def options(self, kind: ResolverKind, directory: Path | str = "", *preloaded: Realm, **changes: Any) -> Options:
        """A server with a resolver; ``changes`` are of the resolver."""
        resolver = ResolverOptions(kind, directory=str(directory), **changes)
        preload = {one.account_key.public: one.account_token() for one in preloaded}
        return replace(self.realm.options(), resolver=resolver, resolver_preload=preload)

    def full(self, directory: Path | str, **changes: Any) -> Options:
        """A server with a full resolver that knows the system account."""
        return self.options(ResolverKind.FULL, directory, self.system, **changes)

    def deletion(self, *names: str, key: KeyPair | None = None, subject: str = "", **claims: Any) -> str:
        """A request to delete accounts, signed by the operator unless another key is given."""
        key = key or self.realm.operator_key
        made = GenericClaims.new(subject or key.public)
        made.nats["accounts"] = list(names)
        for name, value in claims.items():
            setattr(made, name, value)
        return jwt.encode(made, key)

    async def administrator(self, server: Server) -> Client:
        """A client in the system account."""
        return await self.system.connect(server, headers=True, no_responders=True)


async def request(client: Client, subject: str, body: bytes | str = b"") -> bytes:
    """The payload of the first answer."""
    data = body.encode() if isinstance(body, str) else body
    number = next(_NUMBERS)
    line = f"SUB answer.{number} {number}\r\nUNSUB {number} 1\r\nPUB {subject} answer.{number} {len(data)}\r\n"
    await client.send(line.encode() + data + b"\r\n")
    frame = await client.frame()
    assert frame.startswith((b"MSG answer.%d" % number, b"HMSG answer.%d" % number)), frame
    return frame.partition(b"\r\n")[2]


async def ask(client: Client, subject: str, body: bytes | str = b"") -> Any:
    """The first answer, which is JSON."""
    return json.loads(await request(client, subject, body))


async def push(client: Client, token: str) -> Any:
    """What a server answers to the JWT of an account: its data, or the description of its error."""
    answer = await ask(client, UPDATE, token)
    return answer["data"] if "data" in answer else answer["error"]["description"]


async def pack(client: Client, digest: bytes = b"") -> list[bytes]:
    """Every message up to the empty one."""
    number = next(_NUMBERS)
    line = f"SUB pack.{number} {number}\r\nPUB {PACK} pack.{number} {len(digest)}\r\n"
    await client.send(line.encode() + digest + b"\r\n")
    found = []
    while body := (await client.frame()).partition(b"\r\n")[2]:
        found.append(body)
    await client.send(b"UNSUB %d\r\n" % number)
    return found
