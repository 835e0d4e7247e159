"""Nothing of an encrypted account can be read without its data key, and the keys can change while it serves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nacl.bindings
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.jetstream.store.account import AccountStore
from broker.jetstream.store.marks import FIRST_KEY_FILE, MARK
from broker.jetstream.store.sealing import FIRST, DataKey, Sealed
from broker.jetstream.store.tables import Checked, Codec, DamagedError, StoreError
from broker.jetstream.store.vault import Vault
from broker.jetstream.store.wrapping import ByCommand, ByKey

SECRET = b"nobody else may read this"
WORKER = "consumer/%s/the-name-of-a-worker"
SECONDS = 20.0


def vault(directory: Path, key: str = "key", *earlier: str, cipher: str = "chacha") -> Vault:
    return Vault(directory / "keys", ByKey(key), [ByKey(one) for one in earlier], cipher)


async def fill(directory: Path, codec: Codec) -> str:
    """Stores some messages; the name of their stream."""
    with ThreadPoolExecutor(1) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None, codec)
        name, log = store.create(memory=False)
        for number in range(100):
            log.append(b"subject.of.it", None, SECRET, number + 1)
        store.put("stream/" + name, SECRET)
        store.put(WORKER % name, SECRET)
        store.changed(name)
        await store.close()
    return name


async def turned(store: AccountStore) -> None:
    """Waits until everything is sealed anew."""
    done = asyncio.Event()

    async def end() -> None:
        done.set()

    store.tidying.turned = end
    store.tidying.turn()
    async with asyncio.timeout(SECONDS):
        await done.wait()


async def check(directory: Path, name: str, codec: Codec, *, turn: bool = False) -> None:
    """Looks whether a stream has what was stored."""
    with ThreadPoolExecutor(1) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None, codec)
        try:
            entry = store.load(name).get(100)
            assert entry is not None
            assert (entry.sequence, entry.payload) == (100, SECRET)
            for _ in range(2):
                assert store.documents("stream/") == {"stream/" + name: SECRET}
                assert store.documents(f"consumer/{name}/") == {WORKER % name: SECRET}
                assert store.documents("consumer/other/") == {}
                assert set(store.documents("")) == {"stream/" + name, WORKER % name}
                if turn:
                    await turned(store)
        finally:
            await store.close()


def raw(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def assert_unreadable(directory: Path) -> None:
    for plain in (SECRET, b"subject.of.it", b"stream/", b"name-of-a-worker"):
        assert plain not in raw(directory)


@pytest.mark.parametrize("cipher", ["chacha", "aes"])
async def test_what_is_on_disk_cannot_be_read(tmp_path: Path, cipher: str) -> None:
    plain = tmp_path / "plain"
    await fill(plain, Checked())
    assert SECRET in raw(plain)
    assert b"name-of-a-worker" in raw(plain)
    sealed = tmp_path / "sealed"
    name = await fill(sealed, vault(tmp_path, cipher=cipher).codec(sealed, "A"))
    assert_unreadable(sealed)
    await check(sealed, name, vault(tmp_path, cipher=cipher).codec(sealed, "A"))
    # The other cipher reads on, and writes its own way from then on.
    other = vault(tmp_path, cipher="aes" if cipher == "chacha" else "chacha")
    await check(sealed, name, other.codec(sealed, "A"))


async def test_the_key_of_the_server_changes(tmp_path: Path) -> None:
    sealed = tmp_path / "A"
    name = await fill(sealed, vault(tmp_path, "old").codec(sealed, "A"))
    with pytest.raises(StoreError, match="sealed with another key; give that one as 'prev_key'"):
        vault(tmp_path, "new").codec(sealed, "A")
    running = vault(tmp_path, "old")
    assert running.adopt(ByKey("new"), [])
    assert not running.adopt(ByKey("new"), [])
    await check(sealed, name, running.codec(sealed, "A"))
    assert running.rewrap() == (1, [])
    assert running.rewrap() == (0, [])
    await check(sealed, name, vault(tmp_path, "new").codec(sealed, "A"))
    with pytest.raises(StoreError, match="sealed with another key"):
        vault(tmp_path, "old").codec(sealed, "A")


async def test_an_account_without_anything_takes_no_room(tmp_path: Path) -> None:
    keys, sealed = vault(tmp_path, "old"), tmp_path / "A"
    codec = keys.codec(sealed, "A")
    assert not keys.path("A").exists()
    assert not sealed.exists()
    assert keys.adopt(ByKey("new"), [])
    assert keys.rewrap() == (0, [])
    name = await fill(sealed, codec)
    await check(sealed, name, vault(tmp_path, "new").codec(sealed, "A"))


async def test_without_the_key_file_nothing_is_left(tmp_path: Path) -> None:
    sealed = tmp_path / "A"
    keys = vault(tmp_path)
    name = await fill(sealed, keys.codec(sealed, "A"))
    path = keys.path("A")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(keys.ids("A", "A")) == 1
    assert not keys.destroy("A", "A")
    assert not path.exists()
    with pytest.raises(StoreError, match=r"its key file .* is gone"):
        keys.codec(sealed, "A")
    with pytest.raises(DamagedError):
        await check(sealed, name, Sealed([DataKey(1, secret=bytes(32))]))


async def test_the_key_of_another_account_does_not_fit(tmp_path: Path) -> None:
    keys = vault(tmp_path)
    for name in ("A", "B"):
        await fill(tmp_path / name, keys.codec(tmp_path / name, name))
    shutil.copy(keys.path("B"), keys.path("A"))
    with pytest.raises(StoreError, match="sealed with another key"):
        keys.codec(tmp_path / "A", "A")
    # Nor do values of one place stand in another.
    codec = Sealed([DataKey.generate(1)])
    stored = codec.encode("records", b"key", b"value")
    for table, key in (("index", b"key"), ("records", b"other")):
        with pytest.raises(DamagedError):
            codec.decode(table, key, stored)


async def test_what_is_in_the_clear_is_sealed_while_serving(tmp_path: Path) -> None:
    directory = tmp_path / "A"
    name = await fill(directory, Checked())
    keys = vault(tmp_path)
    codec = keys.codec(directory, "A")
    assert codec.has_plain
    await check(directory, name, codec)
    # A restart in between changes nothing.
    codec = keys.codec(directory, "A")
    assert codec.is_turning
    await check(directory, name, codec, turn=True)
    keys.write("A", "A", codec.keys[-1:])
    assert_unreadable(directory)
    again = keys.codec(directory, "A")
    assert not again.is_turning
    await check(directory, name, again)
    with pytest.raises(DamagedError):
        again.decode("records", b"key", Checked().encode("records", b"key", b"in the clear"))


async def test_the_data_key_changes_while_serving(tmp_path: Path) -> None:
    directory = tmp_path / "A"
    keys = vault(tmp_path)
    codec = keys.codec(directory, "A")
    name = await fill(directory, codec)
    old = codec.current
    codec = keys.codec(directory, "A")
    with ThreadPoolExecutor(2) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None, codec)
        log = store.load(name)
        log.append(b"subject.of.it", None, b"under the old one", 101)
        store.changed(name)
        keys.write("A", "A", (*codec.keys, new := DataKey.generate(2)))
        codec.begin(new)
        store.delete(WORKER % name)
        store.put("stream/" + name, b"changed meanwhile")
        turning = asyncio.ensure_future(turned(store))
        for number in range(20):
            log.append(b"subject.of.it", None, b"under the new one", 102 + number)
            store.changed(name)
            await asyncio.sleep(0)
        await turning
        store.put(WORKER % name, SECRET)
        store.put("stream/" + name, SECRET)
        codec.end()
        await store.close()
    with pytest.raises(DamagedError):
        await check(directory, name, Sealed([old]))
    await check(directory, name, Sealed([new]))


async def test_the_first_form_is_sealed_anew(tmp_path: Path) -> None:
    directory = tmp_path / "A"
    secret = os.urandom(32)

    class First(Checked):
        """Values as they were sealed when an account had one key for ever."""

        def encode(self, table: str, key: bytes, value: bytes) -> bytes:
            return b"\x01" + _chacha(secret, value, table.encode() + b"\0" + key)

    name = await fill(directory, First())
    magic, salt = b"natskeep data key 1\n", os.urandom(16)
    wrapping = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"natskeep data key\0A").derive(b"key")
    await asyncio.to_thread((directory / FIRST_KEY_FILE).write_bytes, magic + salt + _chacha(wrapping, secret, magic))
    with pytest.raises(StoreError, match="sealed with another key"):
        vault(tmp_path, "other").codec(directory, "A")
    keys = vault(tmp_path)
    codec = keys.codec(directory, "A")
    assert codec.keys[0].form == FIRST
    assert not (directory / FIRST_KEY_FILE).exists()
    await check(directory, name, keys.codec(directory, "A"), turn=True)
    await check(directory, name, Sealed(codec.keys[-1:]))
    assert_unreadable(directory)


def _chacha(key: bytes, value: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(24)
    return nonce + bytes(nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(value, bound, nonce, key))


KMS = """
import base64, json, pathlib, sys
store, asked = pathlib.Path(sys.argv[1]), json.load(sys.stdin)
kept = json.loads(store.read_text()) if store.exists() else {}
name = asked["account"]
if asked["do"] == "wrap":
    kept.setdefault(name, []).append(asked["key"])
    answer = {"wrapped": str(len(kept[name]) - 1)}
elif asked["do"] == "destroy":
    kept.pop(name, None)
    answer = {}
elif name in kept:
    answer = {"key": kept[name][int(asked["wrapped"])]}
else:
    sys.exit("no key for " + name)
store.write_text(json.dumps(kept))
print(json.dumps(answer))
"""


def kms(directory: Path) -> ByCommand:
    script = directory / "kms.py"
    script.write_text(KMS)
    return ByCommand((sys.executable, "-S", str(script), str(directory / "kept.json")), 20.0)


async def test_a_command_keeps_the_key(tmp_path: Path) -> None:
    command = await asyncio.to_thread(kms, tmp_path)
    keys = Vault(tmp_path / "keys", command)
    directory = tmp_path / "A"
    name = await fill(directory, keys.codec(directory, "A"))
    await check(directory, name, keys.codec(directory, "A"))
    keys.check(command, [])
    kept = await asyncio.to_thread(keys.path("A").read_bytes)
    # What the command has destroyed, no copy of the key file brings back.
    assert keys.destroy("A", "A")
    await asyncio.to_thread(keys.path("A").write_bytes, kept)
    with pytest.raises(StoreError, match=r"key_command .* refused to unwrap the key of account A: no key for A"):
        keys.codec(directory, "A")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import time; time.sleep(60)", "did not answer within"),
        ("print('no json')", "answered something that is no JSON object"),
        ("print('{}')", "answered a request to wrap a key without 'wrapped'"),
        ("import sys; sys.exit('locked')", "refused to wrap the key of account A: locked"),
    ],
)
def test_a_command_that_does_not_do_it(tmp_path: Path, script: str, problem: str) -> None:
    command = ByCommand((sys.executable, "-S", "-c", script), 0.5 if "sleep" in script else 20.0)
    with pytest.raises(StoreError, match=problem):
        Vault(tmp_path / "keys", command).codec(tmp_path / "A", "A")
    assert not (tmp_path / "A" / MARK).exists()
    with pytest.raises(StoreError, match="cannot be started"):
        ByCommand((str(tmp_path / "missing"),), 1.0).destroy("A")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    key = DataKey.generate(1)
    shown = repr([key, ByKey("the secret"), Sealed([key]), vault(tmp_path, "the secret")])
    assert "the secret" not in shown
    assert key.secret.hex() not in shown
    assert repr(key.secret) not in shown
    keys = vault(tmp_path, "the secret")
    keys.write("A", "A", [key])
    document = json.loads(keys.path("A").read_bytes().split(b"\n")[1])
    assert set(document) == {"by", "salt", "wrapped", "sealed"}
