"""The ``tls`` block of a listener."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from broker.config.errors import ConfigError
from broker.config.options import DEFAULT_TLS_TIMEOUT, HANDSHAKE_FIRST_AUTO_DELAY, TLSOptions
from broker.config.schema import refuse_absent
from broker.config.tree import Entry, Table
from broker.config.values import (
    Key,
    Keys,
    Problems,
    boolean,
    count,
    fail,
    positioned_strings,
    read_block,
    seconds_of,
    string,
    table,
    timeout,
    wrong_type,
)
from tls.context import server_context
from tls.pins import parse_pin
from tls.policy import CertificatePair, TLSSettingsError, check_cipher, check_cipher_choice, check_curve, check_version


def tls(entry: Entry, problems: Problems) -> TLSOptions:
    """Reads a ``tls`` block and tries its certificates.

    Raises:
        ConfigError: the certificates cannot be used.
    """
    before = len(problems.errors)
    unknown = 'error parsing tls config, unknown field "{}"'
    block = table(entry)
    fields = read_block(block, _TLS, problems, unknown)
    fields.pop("", None)
    if fields.get("verify_and_map"):
        fields["verify"] = True
    fields["timeout"] = fields.get("timeout") or DEFAULT_TLS_TIMEOUT
    options = TLSOptions(**fields)
    if len(problems.errors) == before:
        try:
            check_cipher_choice(options.cipher_suites, allow_insecure=options.allow_insecure_cipher_suites)
            server_context(options)
        except TLSSettingsError as error:
            raise fail(entry, str(error)) from None
    return options


def _positioned(entry: Entry, check: Callable[[str], object]) -> tuple[str, ...]:
    """The strings of a list that must hold some, each of them checked."""
    if isinstance(entry.value.content, list) and not entry.value.content:
        raise fail(entry, f"error parsing tls config, '{entry.key}' cannot be empty")
    texts = []
    for text, position in positioned_strings(entry):
        try:
            check(text)
        except TLSSettingsError as error:
            raise ConfigError.at(position, str(error)) from None
        texts.append(text)
    return tuple(texts)


def _ciphers(entry: Entry, _: Problems) -> tuple[str, ...]:
    return _positioned(entry, check_cipher)


def _curves(entry: Entry, _: Problems) -> tuple[str, ...]:
    return _positioned(entry, check_curve)


def _pins(entry: Entry, _: Problems) -> frozenset[str]:
    pins = []
    for text, position in positioned_strings(entry):
        try:
            pins.append(parse_pin(text))
        except TLSSettingsError as error:
            raise ConfigError.at(position, f"error parsing tls config, {error}") from None
    return frozenset(pins)


def _min_version(entry: Entry, _: Problems) -> str:
    text = entry.value.content
    if not isinstance(text, str):
        raise fail(entry, f"error parsing tls config: 'min_version' wrong type: {text}; put it in quotes")
    try:
        check_version(text)
    except TLSSettingsError as error:
        raise fail(entry, f"error parsing tls config: {error}") from None
    return text


def _certificates(entry: Entry, problems: Problems) -> tuple[CertificatePair, ...]:
    if not isinstance(entry.value.content, list):
        raise wrong_type(entry, "a list of maps with 'cert_file' and 'key_file'")
    pairs = []
    for element in entry.value.content:
        if not isinstance(element.content, Table):
            raise wrong_type(entry, "a list of maps with 'cert_file' and 'key_file'", element)
        unknown = 'error parsing tls certs config, unknown field "{}"'
        fields = read_block(element.content, _PAIR, problems, unknown, exact=True)
        pairs.append(CertificatePair(fields.get("cert_file", ""), fields.get("key_file", "")))
    return tuple(pairs)


def _handshake_first(entry: Entry, _: Problems) -> bool | float:
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if not isinstance(content, str):
        raise wrong_type(entry, "a boolean, auto or a duration in quotes")
    text = content.lower()
    if text in {"true", "on"}:
        return True
    if text in {"false", "off"}:
        return False
    if text in {"auto", "auto_fallback"}:
        return HANDSHAKE_FIRST_AUTO_DELAY
    try:
        delay = seconds_of(content)
    except ValueError:
        delay = -1.0
    if delay <= 0:
        raise fail(
            entry,
            f'field "{entry.key}"\'s value "{content}" is invalid; use true, false, auto or a duration like "50ms"',
        )
    return delay


def _not_here(entry: Entry, problems: Problems) -> None:
    if boolean(entry, problems):
        raise fail(entry, f"{entry.key} not supported in this context")


def _windows(entry: Entry, _: Problems) -> None:
    refuse_absent(entry, "the certificate store of Windows")


def _ocsp_peer(entry: Entry, _: Problems) -> None:
    refuse_absent(entry, "OCSP")


_PAIR: Final[Keys] = {field: Key(field, string) for field in ("cert_file", "key_file")}
_TLS: Final[Keys] = {
    **{field: Key(field, string) for field in ("cert_file", "key_file", "ca_file")},
    **dict.fromkeys(("certs", "certificates"), Key("certificates", _certificates)),
    **{
        field: Key(field, boolean) for field in ("verify", "verify_and_map", "insecure", "allow_insecure_cipher_suites")
    },
    "cipher_suites": Key("cipher_suites", _ciphers),
    "curve_preferences": Key("curve_preferences", _curves),
    "timeout": Key("timeout", partial(timeout, block="tls")),
    "connection_rate_limit": Key("connection_rate_limit", count),
    "pinned_certs": Key("pinned_certs", _pins),
    **dict.fromkeys(("handshake_first", "first", "immediate"), Key("handshake_first", _handshake_first)),
    "min_version": Key("min_version", _min_version),
    "verify_cert_and_check_known_urls": Key("", _not_here),
    **dict.fromkeys(
        ("cert_store", "cert_match_by", "cert_match", "ca_certs_match", "cert_match_skip_invalid"), Key("", _windows)
    ),
    "ocsp_peer": Key("", _ocsp_peer),
}
