"""The ``tls`` block of a listener."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from broker.config.absent import refuse_absent
from broker.config.errors import ConfigError
from broker.config.options import DEFAULT_TLS_TIMEOUT, HANDSHAKE_FIRST_AUTO_DELAY, TLSOptions
from broker.config.tree import Entry, Table
from broker.config.values import (
    NOWHERE,
    Key,
    Keys,
    Problems,
    boolean,
    count,
    duration,
    fail,
    keys,
    late,
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
from tls.policy import (
    DEFAULT_WATCH,
    CertificatePair,
    TLSSettingsError,
    check_cipher,
    check_cipher_choice,
    check_curve,
    check_version,
)

SHORTEST_WATCH: Final = 0.01
"""Seconds between two looks at files, at least."""


def tls(entry: Entry, problems: Problems) -> TLSOptions:
    """Reads a ``tls`` block and tries its certificates.

    Raises:
        ConfigError: the certificates cannot be used.
    """
    before = len(problems.errors)
    fields = tls_fields(entry, problems)
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


def tls_fields(entry: Entry, problems: Problems, *, known_urls: bool = False) -> dict[str, Any]:
    """The fields of a ``tls`` block, without a look at the certificates.

    ``known_urls`` says whether ``verify_cert_and_check_known_urls`` makes sense there.
    """
    known = {**TLS, **_KNOWN_URLS} if known_urls else TLS
    fields = read_block(table(entry), known, problems, 'error parsing tls config, unknown field "{}"')
    fields.pop(NOWHERE, None)
    return fields


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


def _crl_files(entry: Entry, _: Problems) -> tuple[str, ...]:
    files = tuple(text for text, _ in positioned_strings(entry))
    if not all(files):
        raise fail(entry, f"error parsing tls config, '{entry.key}' names an empty path; remove it or give it a value")
    return tuple(dict.fromkeys(files))


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
        before = len(problems.errors)
        fields = read_block(element.content, _PAIR, problems, unknown, exact=True)
        pair = CertificatePair(fields.get("cert_file", ""), fields.get("key_file", ""))
        if len(problems.errors) == before and not (pair.cert_file and pair.key_file):
            raise ConfigError.at(
                element.position,
                "error parsing certificates config: both 'cert_file' and 'key_file' options are required",
            )
        pairs.append(pair)
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
    if delay == 0:
        return True
    if delay < 0:
        raise fail(
            entry,
            f'field "{entry.key}"\'s value "{content}" is invalid; use true, false, auto or a duration like "50ms"',
        )
    return delay


def _watch(entry: Entry, problems: Problems) -> float:
    content = entry.value.content
    if isinstance(content, bool):
        return DEFAULT_WATCH if content else 0.0
    if not isinstance(content, str):
        raise wrong_type(entry, "a boolean or a duration in quotes")
    seconds = duration(entry, problems)
    if seconds < SHORTEST_WATCH:
        raise fail(entry, f'error parsing tls config: {entry.key} must be "10ms" at least; false turns it off')
    return seconds


def _not_here(entry: Entry, problems: Problems) -> None:
    if boolean(entry, problems):
        raise fail(entry, f"{entry.key} not supported in this context")


def _windows(entry: Entry, _: Problems) -> None:
    refuse_absent(entry, "the certificate store of Windows")


_PAIR: Final[Keys] = {
    **keys("cert_file", field="cert_file", read=string, kind="path", doc="Certificate chain."),
    **keys("key_file", field="key_file", read=string, kind="path", doc="Its private key."),
}
TLS: Final[Keys] = {
    **keys("cert_file", field="cert_file", read=string, kind="path", doc="Certificate chain, PEM."),
    **keys("key_file", field="key_file", read=string, kind="path", doc="Its private key, PEM."),
    **keys(
        "ca_file",
        field="ca_file",
        read=string,
        kind="path",
        default="the authorities of the system",
        doc="Authorities that client certificates are verified against.",
    ),
    **keys(
        "certs",
        "certificates",
        field="certificates",
        read=_certificates,
        kind="list of maps",
        doc="Several pairs of `cert_file` and `key_file`, chosen by the name the client asks for; excludes both keys.",
    ),
    **keys("verify", field="verify", read=boolean, doc="Ask clients for a certificate, and refuse those without."),
    **keys(
        "verify_and_map",
        field="verify_and_map",
        read=boolean,
        doc="The same, and find the user by the names in the certificate.",
    ),
    **keys(
        "insecure",
        field="insecure",
        read=boolean,
        doc="For servers that are dialled, as in `resolver_tls`: accept any certificate, which the log warns of. "
        "Without effect on a listener.",
    ),
    **keys(
        "allow_insecure_cipher_suites",
        field="allow_insecure_cipher_suites",
        read=boolean,
        doc="Let `cipher_suites` name insecure ones.",
    ),
    **keys(
        "cipher_suites",
        field="cipher_suites",
        read=_ciphers,
        kind="list of IANA names",
        default="the secure ones",
        doc="The only suites, in the order of preference. Where none of TLS 1.3 is named, all of those may be used "
        "besides; where none of TLS 1.2 is, that is not spoken.",
    ),
    **keys(
        "curve_preferences",
        field="curve_preferences",
        read=_curves,
        kind="list of names",
        default="all of them",
        doc="Groups for the exchange of keys, in the order of preference: `X25519MLKEM768`, `SecP384r1MLKEM1024`, "
        "`SecP256r1MLKEM768`, `X25519`, `CurveP256`, `CurveP384`, `CurveP521`. The first three hold against quantum "
        "computers too.",
    ),
    **keys(
        "timeout",
        field="timeout",
        read=partial(timeout, block="tls"),
        kind="seconds, or a duration",
        doc="How long a handshake may take.",
    ),
    **keys(
        "connection_rate_limit",
        field="connection_rate_limit",
        read=count,
        kind="number",
        doc="Handshakes that may begin in a second; 0 is unlimited.",
    ),
    **keys(
        "pinned_certs",
        field="pinned_certs",
        read=_pins,
        kind="list of hex digests",
        default="none",
        doc="SHA-256 of the public keys (SubjectPublicKeyInfo) of the only client certificates that are accepted.",
    ),
    **keys(
        "handshake_first",
        "first",
        "immediate",
        field="handshake_first",
        read=_handshake_first,
        kind="boolean, `auto` or duration",
        doc="Begin with the handshake, before INFO. `auto` (50 ms) or a duration: wait so long for the client to "
        "begin, then send INFO first.",
    ),
    **keys(
        "min_version",
        field="min_version",
        read=_min_version,
        kind='`"1.2"` or `"1.3"`',
        doc="Lowest version of TLS.",
    ),
    **keys(
        "watch",
        field="watch",
        read=_watch,
        kind="boolean, or duration",
        default="1s",
        doc="On a listener: how often its files are looked at for a renewed certificate; `false` is only on a reload. "
        "See [tls.md](tls.md). natskeep only.",
    ),
    **keys(
        "expiry_warning",
        field="expiry_warning",
        read=duration,
        kind="duration",
        default="7 days, or the last sixth of a life that is shorter than 42",
        doc="On a listener: how long before a certificate's end there are warnings. natskeep only.",
    ),
    **keys(
        "verify_cert_and_check_known_urls",
        read=_not_here,
        kind="boolean",
        doc="Only where servers connect to each other.",
    ),
    **keys("cert_store", read=_windows, kind="string", doc="Windows only."),
    **keys("cert_match_by", read=_windows, kind="string", doc="Windows only."),
    **keys("cert_match", read=_windows, kind="string", doc="Windows only."),
    **keys("ca_certs_match", read=_windows, kind="string or list", doc="Windows only."),
    **keys("cert_match_skip_invalid", read=_windows, kind="boolean", doc="Windows only."),
    **keys(
        "ocsp_peer",
        field="ocsp_peer",
        read=late("ocsp_block", "ocsp_peer"),
        kind="boolean or map",
        default="`false`",
        doc="Ask OCSP responders whether client certificates are revoked; needs `verify`.",
    ),
    **keys(
        "crl_files",
        "crl_file",
        field="crl_files",
        read=_crl_files,
        kind="path, or list of them",
        default="none",
        doc="Revocation lists (CRL) of the authorities that sign client certificates, in PEM or DER; needs `verify`. "
        "Whoever is connected and stands on a new one is closed. natskeep only.",
    ),
    **keys(
        "allow_without_crl",
        field="allow_without_crl",
        read=boolean,
        doc="With `crl_files`, accept client certificates too for which no list is in force: what an older one revokes "
        "stays revoked. natskeep only.",
    ),
}
_KNOWN_URLS: Final[Keys] = {
    "verify_cert_and_check_known_urls": Key(NOWHERE, boolean),
}
