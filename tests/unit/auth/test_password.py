"""Passwords in the clear and as bcrypt hashes."""

from __future__ import annotations

import bcrypt
import pytest

from auth import password

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def test_plain() -> None:
    assert password.matches("secret", "secret")
    assert not password.matches("secret", "Secret")
    assert not password.matches("secret", "")
    assert password.matches("", "")
    assert password.matches("p\udc80", "p\udc80")


@pytest.mark.parametrize("variant", ["2a", "2b", "2y"])
def test_bcrypt(variant: str) -> None:
    stored = f"${variant}$" + HASH.split("$", 2)[2]
    assert password.is_bcrypt(stored)
    assert password.matches(stored, "secret")
    assert not password.matches(stored, "Secret")
    assert not password.matches(stored, stored)


def test_bcrypt_reads_72_bytes() -> None:
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert password.matches(stored, "x" * 100)
    assert not password.matches(stored, "x" * 71)


@pytest.mark.parametrize("given", ["", "a\0b", "\udc80", "x" * 100_000])
def test_odd_passwords_do_not_match(given: str) -> None:
    assert not password.matches(HASH, given)


@pytest.mark.parametrize("stored", ["$2a$99$", "$2b$10$short", "$2x$04$" + "é" * 53])
def test_broken_hashes_match_nothing(stored: str) -> None:
    assert password.is_bcrypt(stored)
    assert not password.matches(stored, "secret")
    assert not password.matches(stored, stored)


@pytest.mark.parametrize("stored", ["secret", "$2c$10$abc", "$2a$1$abc", "x$2a$10$abc"])
def test_what_is_no_hash(stored: str) -> None:
    assert not password.is_bcrypt(stored)
    assert password.matches(stored, stored)
