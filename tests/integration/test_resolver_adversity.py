"""A full resolver under a disk that is full, under kill -9 amid pushes, and with files that somebody damaged."""

from __future__ import annotations

import base64
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as NatsClient

from broker.config.options import ResolverKind
from tests.support.estate import LIST, UPDATE, Estate, ask, lookup, request
from tests.support.realm import Realm
from tests.support.servers import NATSKEEP, STOP_SECONDS, ServerProcess, Target
from tests.support.serving import PATIENCE, serving

SMALL_FILES = Target(NATSKEEP.name, ("bash", "-c", f'ulimit -f 2; exec "{sys.executable}" -m broker "$@"', "natskeep"))
"""natskeep, no file of which may grow beyond 2 KiB."""

PUSHES_BEFORE_KILL = (1, 2, 5, 11, 23)


def write_config(estate: Estate, path: Path) -> Path:
    options = estate.full(path / "jwt")
    preload = "\n".join(f"  {name}: {token}" for name, token in options.resolver_preload.items())
    config = path / "server.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\noperator: {options.operators[0].token}\n'
        f"resolver {{ type: full, dir: \"{path / 'jwt'}\" }}\nresolver_preload {{\n{preload}\n}}\n"
    )
    return config


@asynccontextmanager
async def connected(process: ServerProcess, realm: Realm) -> AsyncIterator[NatsClient]:
    """The official client, connected to a process as the user of an account."""
    assert process.wait_until_ready(), process.output
    found = re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", process.output)
    assert found is not None
    client = await nats.connect(
        f"nats://127.0.0.1:{found[1]}",
        user_jwt_cb=lambda: realm.token().encode(),
        signature_cb=lambda nonce: base64.b64encode(realm.user_key.sign(nonce.encode())),
        allow_reconnect=False,
    )
    try:
        yield client
    finally:
        await client.close()


async def test_a_full_disk_leaves_the_account_of_before(tmp_path: Path) -> None:
    estate = Estate()
    realm = estate.realm
    with ServerProcess(SMALL_FILES, ["-c", str(write_config(estate, tmp_path))], tmp_path) as process:
        async with connected(process, estate.system) as admin:
            before = realm.account_token()
            assert b'"jwt updated"' in (await admin.request(UPDATE, before.encode(), timeout=PATIENCE)).data
            realm.account.nats.description = "x" * 4096
            refused = (await admin.request(UPDATE, realm.account_token().encode(), timeout=PATIENCE)).data
            assert b"jwt update resulted in error" in refused
            assert b"file too large" in refused
            assert (await admin.request(lookup(estate.name), b"", timeout=PATIENCE)).data == before.encode()
            files = sorted(path.name for path in (tmp_path / "jwt").iterdir())
            assert files == sorted(f"{one.account_key.public}.jwt" for one in (realm, estate.system))
            async with connected(process, realm):
                assert "file too large" in process.output


@pytest.mark.parametrize("pushes", PUSHES_BEFORE_KILL)
async def test_a_server_that_is_killed_amid_pushes_leaves_whole_files(tmp_path: Path, pushes: int) -> None:
    estate = Estate()
    realm = estate.realm
    config = write_config(estate, tmp_path)
    tokens = []
    for number in range(pushes + 1):
        realm.account.name = f"NAME{number}"
        tokens.append(realm.account_token())
    with ServerProcess(NATSKEEP, ["-c", str(config)], tmp_path, preforked=True) as process:
        async with connected(process, estate.system) as admin:
            await admin.request(UPDATE, tokens[0].encode(), timeout=PATIENCE)
            for token in tokens[1:]:
                await admin.publish(UPDATE, token.encode())
            # The server has them all, and is still writing.
            await admin.flush()
            process.send_signal(signal.SIGKILL)
            process.wait_until_exit(STOP_SECONDS)
    left = (tmp_path / "jwt" / f"{estate.name}.jwt").read_text()
    assert left in tokens
    with ServerProcess(NATSKEEP, ["-c", str(config)], tmp_path, preforked=True) as process:
        async with connected(process, estate.system) as admin:
            assert (await admin.request(lookup(estate.name), b"", timeout=PATIENCE)).data == left.encode()
        async with connected(process, realm) as client:
            assert client.is_connected
    names = sorted(path.name for path in (tmp_path / "jwt").iterdir())
    assert names == sorted(f"{one.account_key.public}.jwt" for one in (realm, estate.system))


async def test_a_damaged_file_harms_its_account_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    realm, other, third = estate.realm, estate.other, estate.realm.neighbour("THIRD")
    (tmp_path / f"{estate.name}.jwt").write_text(realm.account_token()[:200])
    (tmp_path / f"{other.account_key.public}.jwt").mkdir()
    (tmp_path / f"{third.account_key.public}.jwt").write_text(third.account_token())
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        for one in (realm, other):
            assert b"Authorization Violation" in await (await one.attempt(server)).rest()
            assert f"{one.account_key.public}.jwt " in caplog.text
            assert await request(admin, lookup(one.account_key.public)) == b""
        assert await (await third.connect(server)).ping() == []
        assert (await ask(admin, LIST))["data"] == sorted(
            [third.account_key.public, estate.system.account_key.public]
        )
        # A new JWT mends what the old file had.
        assert (await ask(admin, UPDATE, realm.account_token()))["data"]["message"] == "jwt updated"
        assert await (await realm.connect(server)).ping() == []


async def test_a_forged_file_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    stranger = Realm()
    (tmp_path / f"{stranger.account_key.public}.jwt").write_text(stranger.account_token())
    async with serving(estate.options(ResolverKind.FULL, tmp_path)) as server:
        assert b"Authorization Violation" in await (await stranger.attempt(server)).rest()
    assert "Account JWT not signed by trusted operator" in caplog.text
