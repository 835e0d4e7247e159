"""Fuzz targets: nkeys and credentials files.

Invariants: a text is a key or NKeyError; what is accepted is the only way to write that key, except for the spare bits
of a seed. A file is a token and a seed or CredsError; the token never holds the seed, and no error shows it.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auth.creds import CredsError, format_creds, parse_creds
from auth.nkey import (
    KeyKind,
    NKeyError,
    decode_public,
    decode_seed,
    encode_public,
    is_public_key,
    public_key_kind,
)
from tests.fuzz.inputs import budget, mutated, noise_or
from tests.fuzz.material import material

SEED = material().user.seed
KEYS = [material().operator.public.encode(), material().account.public.encode(), material().user.public.encode()]
SEEDS = [SEED.encode(), material().account.seed.encode()]
CREDS = format_creds(material().user_token, SEED)
BARE = f"{material().user_token}\n{SEED}\n"
DICTIONARY = [b"-----", b"---", b"------", b"\n", b"\r\n", b" ", b"=", b"SU", b"\xff", b"1", b"a"]


@budget
@given(noise_or(mutated(KEYS, DICTIONARY)))
def test_a_public_key_has_one_spelling(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    kind = public_key_kind(text)
    for candidate in KeyKind:
        assert is_public_key(text, candidate) == (candidate is kind)
    if kind is not None:
        assert encode_public(decode_public(text, kind), kind) == text


@budget
@given(noise_or(mutated(SEEDS, DICTIONARY)))
def test_a_damaged_seed_is_refused_without_being_shown(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    shown = ""
    try:
        _, raw = decode_seed(text)
    except NKeyError as error:
        shown = f"{error}{error!r}"
    else:
        assert len(raw) == 32
    assert len(text) < 8 or text not in shown


@budget
@given(noise_or(mutated([CREDS.encode(), BARE.encode()], DICTIONARY)))
def test_a_file_gives_both_parts_or_an_error(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    shown = ""
    try:
        token, seed = parse_creds(text)
    except CredsError as error:
        shown = f"{error}{error!r}"
    else:
        assert token.count(".") == 2
        assert not any(character.isspace() for character in token)
        assert seed not in token
        assert decode_seed(seed)[0] is KeyKind.USER
    assert SEED not in shown


@budget
@given(st.text(alphabet=st.characters(exclude_characters="-\r\n"), max_size=50))
def test_text_around_the_blocks_does_not_matter(comment: str) -> None:
    assert parse_creds(f"{comment}\n{CREDS}{comment}\n") == (material().user_token, SEED)
