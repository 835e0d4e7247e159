"""Nothing of an encrypted account can be read without its data key, and the keys above it can change."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.jetstream.store.account import AccountStore
from broker.jetstream.store.sealing import KEY_FILE, Sealed, ServerKeys, Vault
from broker.jetstream.store.tables import Checked, Codec, DamagedError, StoreError

SECRET = b"nobody else may read this"


async def fill(directory: Path, codec: Codec) -> str:
    """Stores some messages; the name of their stream."""
    with ThreadPoolExecutor(1) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None, codec)
        name, log = store.create(memory=False)
        for number in range(100):
            log.append(b"subject.of.it", None, SECRET, number + 1)
        store.put("stream/" + name, SECRET)
        store.changed(name)
        await store.close()
    return name


async def told(directory: Path, name: str, codec: Codec) -> tuple[int, bytes]:
    """How many messages a stream has, and its document."""
    with ThreadPoolExecutor(1) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None, codec)
        try:
            entry = store.load(name).get(100)
            assert entry is not None
            assert entry.payload == SECRET
            return entry.sequence, store.documents("stream/")["stream/" + name]
        finally:
            await store.close()


def raw(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("cipher", ["chacha", "aes"])
async def test_what_is_on_disk_cannot_be_read(tmp_path: Path, cipher: str) -> None:
    plain = tmp_path / "plain"
    await fill(plain, Checked())
    assert SECRET in raw(plain)
    sealed = tmp_path / "sealed"
    vault = Vault(ServerKeys("key", "", cipher))
    name = await fill(sealed, vault.codec(sealed, "A"))
    assert SECRET not in raw(sealed)
    assert b"subject.of.it" not in raw(sealed)
    assert await told(sealed, name, vault.codec(sealed, "A")) == (100, SECRET)
    # The other cipher reads on, and writes its own way from then on.
    other = Vault(ServerKeys("key", "", "aes" if cipher == "chacha" else "chacha"))
    assert await told(sealed, name, other.codec(sealed, "A")) == (100, SECRET)


async def test_the_key_of_the_server_changes(tmp_path: Path) -> None:
    name = await fill(tmp_path, Vault(ServerKeys("old")).codec(tmp_path, "A"))
    with pytest.raises(StoreError, match="sealed with another key; give that one as 'prev_key'"):
        Vault(ServerKeys("new")).codec(tmp_path, "A")
    assert await told(tmp_path, name, Vault(ServerKeys("new", "old")).codec(tmp_path, "A")) == (100, SECRET)
    assert await told(tmp_path, name, Vault(ServerKeys("new")).codec(tmp_path, "A")) == (100, SECRET)
    with pytest.raises(StoreError, match="sealed with another key"):
        Vault(ServerKeys("old")).codec(tmp_path, "A")


async def test_without_the_data_key_nothing_is_left(tmp_path: Path) -> None:
    vault = Vault(ServerKeys("key"))
    name = await fill(tmp_path, vault.codec(tmp_path, "A"))
    key_file = tmp_path / KEY_FILE
    assert key_file.stat().st_mode & 0o777 == 0o600
    await asyncio.to_thread(key_file.unlink)
    with pytest.raises(StoreError, match="is not encrypted, and a key is configured"):
        vault.codec(tmp_path, "A")
    with pytest.raises(DamagedError):
        await told(tmp_path, name, Sealed(bytes(32), "chacha"))


async def test_encrypted_and_not_do_not_mix(tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    await fill(plain, Checked())
    with pytest.raises(StoreError, match="is not encrypted, and a key is configured"):
        Vault(ServerKeys("key")).codec(plain, "A")
    await fill(sealed, Vault(ServerKeys("key")).codec(sealed, "A"))
    with pytest.raises(StoreError, match="is encrypted; give its 'key'"):
        Vault(ServerKeys()).codec(sealed, "A")
    # The data key of another account does not fit, whoever copies it.
    with pytest.raises(StoreError, match="sealed with another key"):
        Vault(ServerKeys("key")).codec(sealed, "B")


def test_rows_cannot_be_exchanged_or_changed() -> None:
    codec = Sealed(bytes(32), "chacha")
    stored = codec.encode("records", b"one", b"value")
    assert codec.decode("records", b"one", stored) == b"value"
    plain = Checked().encode("records", b"one", b"value")
    for table, key, row in (
        ("records", b"two", stored),
        ("gaps", b"one", stored),
        ("records", b"one", stored[:-1]),
        ("records", b"one", b""),
        ("records", b"one", plain),
    ):
        with pytest.raises(DamagedError):
            codec.decode(table, key, row)


def test_keys_are_not_shown() -> None:
    assert "hush" not in repr(ServerKeys("hush-hush", "hush"))
    assert "\\x00" not in repr(Sealed(bytes(32), "aes"))
