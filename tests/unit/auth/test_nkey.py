"""Keys: the text forms of the NATS tools, strict decoding, signatures, sealing, and secrets that stay inside."""

from __future__ import annotations

import pytest

from auth.nkey import (
    KeyKind,
    KeyPair,
    NKeyError,
    decode_public,
    decode_seed,
    encode_public,
    encode_seed,
    is_public_key,
    public_key_kind,
    verify,
)

RAW = bytes(range(32))
PUBLIC_TAIL = "AB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3"
VECTORS = [
    (KeyKind.OPERATOR, "SOAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H2AJA", "O" + PUBLIC_TAIL + "QZVT"),
    (KeyKind.ACCOUNT, "SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI", "A" + PUBLIC_TAIL + "QPZV"),
    (KeyKind.USER, "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y", "U" + PUBLIC_TAIL + "RLKK"),
    (KeyKind.SERVER, "SNAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H2D5U", "N" + PUBLIC_TAIL + "RSWB"),
    (KeyKind.CLUSTER, "SCAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYO7Q", "C" + PUBLIC_TAIL + "R53J"),
    (
        KeyKind.CURVE,
        "SXAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H74KM",
        "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7",
    ),
]
PRIVATE = "PAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6A5BA677HTQQXYOXBXIY45F4BGLH4TLDBG5FBVPR3XEGMQJFKMNYJGWQ"
USER_SEED, USER_PUBLIC = VECTORS[2][1], VECTORS[2][2]


@pytest.mark.parametrize(("kind", "seed", "public"), VECTORS)
def test_text_forms_are_those_of_the_nats_tools(kind: KeyKind, seed: str, public: str) -> None:
    pair = KeyPair(kind, RAW)
    assert (pair.seed, pair.public) == (seed, public)
    assert KeyPair.from_seed(seed).public == public
    assert decode_seed(seed) == (kind, RAW)
    assert public_key_kind(public) is kind
    assert encode_public(decode_public(public, kind), kind) == public


def test_private_form() -> None:
    assert KeyPair(KeyKind.USER, RAW).private_key == PRIVATE
    curve = KeyPair(KeyKind.CURVE, RAW)
    assert curve.private_key == "PAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB7QT2"


def test_signature() -> None:
    pair = KeyPair(KeyKind.USER, RAW)
    signature = pair.sign(b"nonce")
    assert signature.hex() == (
        "f874eae1de830c754d6fc32c4d1019b5221ad2f5c0ff2b996e5c1303b253e706"
        "3398a071276c2961f8c787b85ca6d66589d6d5c3fe992f2b9b8e6ff20e4f8e09"
    )
    verify(pair.public, b"nonce", signature)
    pair.verify(b"nonce", signature)
    for message, wrong in ((b"other", signature), (b"nonce", signature[:-1]), (b"nonce", b"")):
        with pytest.raises(NKeyError, match=r"^nkeys: signature verification failed$"):
            verify(pair.public, message, wrong)


def test_sealing() -> None:
    sender = KeyPair(KeyKind.CURVE, RAW)
    recipient = KeyPair.from_seed("SXAP77X57T57V6PY673PL5HT6LY7B37O5XWOX2XJ5DT6NZPE4PRODYCI24")
    assert recipient.public == "XA7LZNUSCSJUJXCU4WAWBT4QX3M65IO5CTUBZDUR3ZKXV56XV7MRLFAM"
    sealed = sender.seal(b"hello", recipient.public, b"\x42" * 24)
    assert sealed.hex() == "786b7631" + "42" * 24 + "a5d4d3301d47e71c4b5e839456ae5ec0cde29785b5"
    assert recipient.open(sealed, sender.public) == b"hello"
    assert recipient.open(sender.seal(b"", recipient.public), sender.public) == b""


@pytest.mark.parametrize(
    ("sealed", "text"),
    [
        (b"xkv1" + bytes(24), "nkeys: encrypted input is not valid"),
        (b"xkv2" + bytes(40), "nkeys: encrypted input wrong version"),
        (b"xkv1" + bytes(40), "nkeys: could not decrypt input"),
    ],
)
def test_what_cannot_be_opened(sealed: bytes, text: str) -> None:
    pair = KeyPair(KeyKind.CURVE, RAW)
    with pytest.raises(NKeyError, match=f"^{text}$"):
        pair.open(sealed, pair.public)


def test_keys_of_the_wrong_kind() -> None:
    curve, user = KeyPair(KeyKind.CURVE, RAW), KeyPair(KeyKind.USER, RAW)
    with pytest.raises(NKeyError, match="curve key is not valid for sign/verify"):
        curve.sign(b"x")
    with pytest.raises(NKeyError, match="curve key is not valid for sign/verify"):
        verify(curve.public, b"x", bytes(64))
    with pytest.raises(NKeyError, match="only curve key can seal/open"):
        user.seal(b"x", curve.public)
    with pytest.raises(NKeyError, match="only curve key can seal/open"):
        user.open(bytes(64), curve.public)
    with pytest.raises(NKeyError, match="not a valid recipient public curve key"):
        curve.seal(b"x", user.public)
    with pytest.raises(NKeyError, match="not a valid sender public curve key"):
        curve.open(b"xkv1" + bytes(40), user.public)


def short_key() -> str:
    """A user key of ten bytes with a right checksum."""
    import base64
    import binascii

    data = bytes([KeyKind.USER.prefix]) + bytes(10)
    checked = data + binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "U",
        USER_PUBLIC.lower(),
        USER_PUBLIC[:-1],
        USER_PUBLIC + "A",
        USER_PUBLIC + "=",
        USER_PUBLIC[:20] + "\n" + USER_PUBLIC[20:],
        USER_PUBLIC[:20] + "1" + USER_PUBLIC[21:],
        USER_PUBLIC[:-1] + ("A" if USER_PUBLIC[-1] != "A" else "B"),
        USER_SEED,
        short_key(),
        "\u0130" * 56,
    ],
)
def test_malformed_public_keys(text: str) -> None:
    assert not is_public_key(text, KeyKind.USER)
    assert public_key_kind(text) is None
    with pytest.raises(NKeyError):
        decode_public(text, KeyKind.USER)


def test_a_key_is_of_one_kind() -> None:
    assert is_public_key(USER_PUBLIC, KeyKind.USER)
    assert not is_public_key(USER_PUBLIC, KeyKind.ACCOUNT)
    with pytest.raises(NKeyError, match=r"^nkeys: invalid public key$"):
        decode_public(USER_PUBLIC, KeyKind.ACCOUNT)


@pytest.mark.parametrize("text", ["", "SU", USER_SEED[:-1], USER_SEED.lower(), USER_PUBLIC, USER_SEED[:-2] + "AA"])
def test_malformed_seeds_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(NKeyError) as caught:
        KeyPair.from_seed(text)
    assert len(text) < 3 or text not in str(caught.value)


def test_raw_seeds_have_32_bytes() -> None:
    for build in (lambda: encode_seed(b"x", KeyKind.USER), lambda: KeyPair(KeyKind.USER, b"x")):
        with pytest.raises(NKeyError, match="invalid seed length"):
            build()
    with pytest.raises(NKeyError, match="invalid public key"):
        encode_public(b"x", KeyKind.USER)


def test_secrets_stay_out_of_representations() -> None:
    pair = KeyPair.from_seed(USER_SEED)
    assert repr(pair) == f"KeyPair(USER, {USER_PUBLIC})"
    assert USER_SEED not in f"{pair} {pair!r}"


def test_generated_keys_differ() -> None:
    assert KeyPair.generate(KeyKind.ACCOUNT).public != KeyPair.generate(KeyKind.ACCOUNT).public
    assert KeyPair.generate(KeyKind.ACCOUNT).public.startswith("A")
