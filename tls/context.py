"""Builds the contexts of the ssl module from plain settings.

Rules that hold whatever the settings say: TLS 1.2 at least and 1.3 where the peer can, forward secrecy and
authenticated encryption unless other suites are asked for by name, no compression, no renegotiation. Sessions can be
resumed.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib import import_module
from typing import Final, NoReturn

from tls.policy import (
    INSECURE_SUITES,
    SECURE_SUITES,
    VERSIONS,
    CertificatePair,
    TLSSettings,
    TLSSettingsError,
    check_cipher,
    check_cipher_choice,
    check_curve,
    check_version,
)

# Suites with CBC are left out of the default: they are secure only with an extension that older peers lack (RFC 7366).
_DEFAULT_SUITES: Final = tuple(dict.fromkeys(name for suite, name in SECURE_SUITES.items() if "_CBC_" not in suite))
_CURVES: Final = {"X25519": "X25519", "CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
_OPTIONS: Final = (
    ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_DH_USE | ssl.OP_SINGLE_ECDH_USE | ssl.OP_NO_SSLv3
)


def server_context(settings: TLSSettings) -> ssl.SSLContext:
    """A context for a listener.

    With several certificate pairs the client's server name (SNI, RFC 6066 section 3) chooses; the first pair answers
    clients that name no host or an unknown one.

    Raises:
        TLSSettingsError: a file cannot be read, a certificate and a key do not belong together, a name is unknown.
    """
    pairs = _pairs(settings)
    if not pairs:
        raise TLSSettingsError("TLS needs a certificate and its key; set 'cert_file' and 'key_file'")
    # What reads the peers' certificates is loaded now, not while the first of them waits.
    import_module("tls.certificates")
    contexts = [_server_context(settings, pair) for pair in pairs]
    if len(contexts) > 1:
        contexts[0].sni_callback = _chooser(
            {
                name: context
                for pair, context in reversed(list(zip(pairs, contexts, strict=True)))
                for name in _host_names(pair.cert_file)
            }
        )
    return contexts[0]


def client_context(settings: TLSSettings) -> ssl.SSLContext:
    """A context for dialling another server, whose certificate is verified unless ``insecure`` is set.

    Raises:
        TLSSettingsError: as :func:`server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _apply_policy(context, settings)
    pairs = _pairs(settings)
    if pairs:
        _load_pair(context, pairs[0])
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(context, settings, ssl.Purpose.SERVER_AUTH)
    return context


def _server_context(settings: TLSSettings, pair: CertificatePair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _apply_policy(context, settings)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_pair(context, pair)
    if settings.verify:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, settings, ssl.Purpose.CLIENT_AUTH)
    elif settings.ca_file:
        _load_authorities(context, settings, ssl.Purpose.CLIENT_AUTH)
    # One ticket resumes a session; the library's second one costs every handshake, and is for parallel connections.
    context.num_tickets = 1
    return context


def _pairs(settings: TLSSettings) -> tuple[CertificatePair, ...]:
    if settings.certificates:
        if settings.cert_file or settings.key_file:
            raise TLSSettingsError("cannot combine 'cert_file' option with 'certs' option; keep one of them")
        pairs = settings.certificates
    elif settings.cert_file or settings.key_file:
        pairs = (CertificatePair(settings.cert_file, settings.key_file),)
    else:
        return ()
    for pair in pairs:
        if not pair.key_file:
            raise TLSSettingsError("missing 'key_file' in TLS configuration")
        if not pair.cert_file:
            raise TLSSettingsError("missing 'cert_file' in TLS configuration")
    return pairs


def _apply_policy(context: ssl.SSLContext, settings: TLSSettings) -> None:
    check_version(settings.min_version)
    context.minimum_version = VERSIONS[settings.min_version]
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= _OPTIONS
    for name in settings.cipher_suites:
        check_cipher(name)
    check_cipher_choice(settings.cipher_suites, allow_insecure=settings.allow_insecure_cipher_suites)
    known = {**SECURE_SUITES, **INSECURE_SUITES}
    chosen = [known[name] for name in settings.cipher_suites if name in known]
    if settings.cipher_suites and not chosen:
        # Only suites of TLS 1.3 were asked for, so no older version can be spoken.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.set_ciphers(":".join(chosen or _DEFAULT_SUITES))
    except ssl.SSLError:
        raise TLSSettingsError(
            f"none of the cipher suites {', '.join(settings.cipher_suites)} is available in {ssl.OPENSSL_VERSION}"
        ) from None
    _apply_curves(context, settings.curve_preferences)


def _apply_curves(context: ssl.SSLContext, preferences: tuple[str, ...]) -> None:
    """Restricts key exchange to the first preference that this Python can ask for.

    The ssl module takes a single curve. One out of the list is within what was asked for; the library's own order
    serves when the list leaves out none of its curves.
    """
    for name in preferences:
        check_curve(name)
    if not preferences or set(_CURVES) <= set(preferences):
        return
    available = [_CURVES[name] for name in preferences if name in _CURVES]
    if not available:
        raise TLSSettingsError(f"curve preference {preferences[0]} alone is not available; add X25519 or CurveP256")
    context.set_ecdh_curve(available[0])


def _load_pair(context: ssl.SSLContext, pair: CertificatePair) -> None:
    what = "error parsing X509 certificate/key pair"
    for path in (pair.cert_file, pair.key_file):
        _check_readable(path, what)
    try:
        context.load_cert_chain(pair.cert_file, pair.key_file, password=_refuse_password)
    except _EncryptedKeyError:
        raise TLSSettingsError(
            f"{what}: the private key {pair.key_file} is encrypted; decrypt it with: openssl pkey -in {pair.key_file}"
        ) from None
    except (OSError, ValueError) as error:
        raise TLSSettingsError(f"{what}: {_reason(error, pair)}") from None


def _load_authorities(context: ssl.SSLContext, settings: TLSSettings, purpose: ssl.Purpose) -> None:
    if not settings.ca_file:
        context.load_default_certs(purpose)
        return
    _check_readable(settings.ca_file, "")
    try:
        context.load_verify_locations(settings.ca_file)
    except (OSError, ValueError):
        raise TLSSettingsError(
            f"failed to parse root ca certificate: {settings.ca_file} holds no certificate in PEM format"
        ) from None
    # Whoever is in the file is trusted, an intermediate authority too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


class _EncryptedKeyError(Exception):
    """The key asked for a password."""


def _refuse_password() -> NoReturn:
    raise _EncryptedKeyError


def _check_readable(path: str, what: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        reason = (error.strerror or "input/output error") if isinstance(error, OSError) else "invalid path"
        raise TLSSettingsError(f"{what}{': ' if what else ''}open {path}: {reason[:1].lower()}{reason[1:]}") from None


def _reason(error: Exception, pair: CertificatePair) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"the private key {pair.key_file} does not belong to the certificate {pair.cert_file}"
    if reason == "EE_KEY_TOO_SMALL":
        return f"the key of {pair.cert_file} is too small; use RSA of 2048 bits or more, ECDSA P-256 or Ed25519"
    try:
        _host_names(pair.cert_file)
    except TLSSettingsError as certificate_error:
        return str(certificate_error)
    return f"{pair.key_file} holds no private key in PEM format"


def _host_names(path: str) -> list[str]:
    """The names that a certificate is good for, in lower case. Raises TLSSettingsError."""
    names: list[str] = import_module("tls.certificates").read_host_names(path)
    return names


def _chooser(contexts: dict[str, ssl.SSLContext]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    def choose(connection: ssl.SSLObject, name: str | None, default: ssl.SSLContext) -> None:
        host = (name or "").lower().rstrip(".")
        context = contexts.get(host) or contexts.get("*." + host.partition(".")[2])
        if context is not None:
            connection.context = context

    return choose
