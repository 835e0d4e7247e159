"""Seeds lie where nsc looks for them, and errors about them never show one."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth.nkey import KeyKind, KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.keystore import KeyStore


@pytest.fixture
def keystore(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.mark.parametrize("kind", list(KeyKind))
def test_keys_are_found_again(keystore: KeyStore, kind: KeyKind) -> None:
    pair = KeyPair.generate(kind)
    path = keystore.store_key(pair)
    public = pair.public
    assert path == keystore.directory / "keys" / public[0] / public[1:3] / f"{public}.nk"
    assert path.read_text() == pair.seed
    found = keystore.key(public)
    assert found is not None
    assert found.seed == pair.seed
    assert list(keystore.public_keys()) == [public]


def test_the_same_key_may_be_stored_again(keystore: KeyStore) -> None:
    pair = KeyPair.generate(KeyKind.USER)
    assert keystore.store_key(pair) == keystore.store_key(pair)


def test_another_key_under_the_name_is_kept(keystore: KeyStore) -> None:
    pair, other = KeyPair.generate(KeyKind.USER), KeyPair.generate(KeyKind.USER)
    path = keystore.store_key(pair)
    path.write_text(other.seed)
    with pytest.raises(StoreError, match="already exists and is different") as stored:
        keystore.store_key(pair)
    with pytest.raises(StoreError, match="does not hold the seed") as read:
        keystore.key(pair.public)
    assert path.read_text() == other.seed
    for caught in (stored, read):
        assert pair.seed not in str(caught.value)
        assert other.seed not in str(caught.value)


def test_removing_a_key_removes_its_empty_directory(keystore: KeyStore) -> None:
    pair = KeyPair.generate(KeyKind.USER)
    path = keystore.store_key(pair)
    assert keystore.remove_key(pair.public)
    assert not path.parent.exists()
    assert not keystore.remove_key(pair.public)
    assert keystore.key(pair.public) is None


@pytest.mark.parametrize("public", ["", "../../etc/passwd", "UAB"])
def test_what_is_no_key_is_not_looked_for(keystore: KeyStore, public: str) -> None:
    assert not keystore.has_key(public)
    assert keystore.key(public) is None


def test_seeds_are_kept_from_git(keystore: KeyStore) -> None:
    keystore.prepare()
    assert "**/*.nk" in (keystore.directory / ".gitignore").read_text()
    quiet = KeyStore(keystore.directory.with_name("other"), write_ignore_file=False)
    quiet.prepare()
    assert not (quiet.directory / ".gitignore").exists()


def test_creds(keystore: KeyStore) -> None:
    path = keystore.write_creds("O", "A", "u", "text")
    assert path == keystore.directory / "creds/O/A/u.creds"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keystore.remove_creds("O", "A", "u")
    assert not keystore.remove_creds("O", "A", "u")


def test_the_old_layout_is_noticed(keystore: KeyStore) -> None:
    keystore.store_key(KeyPair.generate(KeyKind.USER))
    assert not keystore.needs_migration()
    (keystore.directory / "O").mkdir()
    (keystore.directory / "O" / "x.nk").write_text("seed")
    assert keystore.needs_migration()
