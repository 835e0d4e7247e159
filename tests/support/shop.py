"""An operator's store that the account tool works on while a server trusts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from broker import Options, Server
from broker.config.load import load
from tests.support.serving import serving
from tools.nsk.__main__ import main
from tools.nsk.keystore import KeyStore
from tools.nsk.live import LiveServers
from tools.nsk.remote import Access
from tools.nsk.resolver_config import memory_resolver
from tools.nsk.store import Store


@dataclass
class Shop:
    """An operator's store, worked on by the command line, and the server that trusts it."""

    home: Path
    capture: pytest.CaptureFixture[str]
    url: str = ""

    @property
    def store(self) -> Store:
        return Store.open(self.home, "O", KeyStore(self.home))

    def now(self, *words: str) -> None:
        """Run a command that must succeed, where no server is asked."""
        assert main(["-H", str(self.home), *words]) == 0, self.capture.readouterr().err

    async def ask(self, *words: str, code: int = 0) -> Any:
        """Run a command that talks to the server; the result that it prints."""
        self.capture.readouterr()
        ended = await asyncio.to_thread(main, ["-H", str(self.home), *words, "--nats", self.url, "--json"])
        out, err = self.capture.readouterr()
        assert ended == code, out + err
        return json.loads(out)["result"]

    def options(self, base: Options | None = None) -> Options:
        """The options of a server with the operator and the accounts as they are stored now."""
        path = self.home / "server.conf"
        path.write_text(memory_resolver(self.store))
        made = load(str(path)).options
        if base is None:
            return made
        return replace(base, operators=made.operators, resolver_preload=made.resolver_preload)

    async def client(self, user: str, account: str = "A", **options: Any) -> Client:
        """A client of a user, which looks into the creds file at each connection."""
        return await nats.connect(
            self.url,
            user_credentials=str(self.store.creds_path(account, user)),
            reconnect_time_wait=0.01,
            max_reconnect_attempts=-1,
            allow_reconnect=options.pop("allow_reconnect", True),
            **options,
        )

    async def kick(self, account: str, user_key: str) -> None:
        """End the connections of a user, by its key."""

        def work() -> list[str]:
            servers = LiveServers(self.store, Access(url=self.url))
            found = servers.connections(self.store.account(account).subject)
            return servers.kick(one for one in found if one.user == user_key)

        assert await asyncio.to_thread(work) == []


def open_shop(tmp_path: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Account A, whose signing key signed the users ``asks`` and ``answers``, under an operator O."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("NSC_HOME", "NKEYS_PATH", "NSC_CWD_ONLY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    found = Shop(tmp_path / "h", capture)
    found.now("add", "operator", "O", "--sys")
    found.now("add", "account", "A")
    found.now("edit", "account", "A", "--sk", "generate")
    key = str(found.store.account("A").nats.signing_keys[0])
    for user in ("asks", "answers"):
        found.now("add", "user", "-a", "A", user, "-K", key)
    return found


@asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[Server]:
    async with serving(shop.options()) as server:
        shop.url = server.url
        yield server


async def is_refused(shop: Shop, creds: str) -> bool:
    """Whether no server admits anyone with the text of a creds file."""
    path = shop.home.parent / "old.creds"
    path.write_text(creds)
    try:
        client = await nats.connect(
            shop.url, user_credentials=str(path), allow_reconnect=False, max_reconnect_attempts=0
        )
    except (nats.errors.Error, OSError):
        return True
    await client.close()
    return False
