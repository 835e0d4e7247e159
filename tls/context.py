"""What secures connections, from plain settings: for listeners the engine's own, for dialling one of the ssl module.

Both take versions, suites and groups from :func:`tls.policy.terms`.
"""

from __future__ import annotations

import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tls.policy import CURVES, HYBRID, CertificatePair, TLSSettings, TLSSettingsError, terms

if TYPE_CHECKING:
    from tls.engine import ServerContext

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_GROUPS: Final = tuple(group for name, group in CURVES.items() if name not in HYBRID)


def server_context(settings: TLSSettings) -> ServerContext:
    """What a listener secures connections with.

    With several certificate pairs the client's server name (SNI, RFC 6066 section 3) chooses; the first pair answers
    clients that name no host or an unknown one.

    Raises:
        TLSSettingsError: a file cannot be read, a certificate and a key do not belong together, a name is unknown.
    """
    pairs = _pairs(settings)
    if not pairs:
        raise TLSSettingsError("TLS needs a certificate and its key; set 'cert_file' and 'key_file'")
    context: ServerContext = import_module("tls.engine").ServerContext(settings, pairs)
    return context


def client_context(settings: TLSSettings) -> ssl.SSLContext:
    """For dialling another server, whose certificate is verified unless ``insecure`` is set.

    The libraries that dial take nothing but a context of the ssl module. That cannot choose among the suites of
    TLS 1.3, and takes one curve only: the first that it knows of those that are asked for.

    Raises:
        TLSSettingsError: as :func:`server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    wanted = terms(settings)
    context.minimum_version = _VERSIONS[wanted.minimum_version]
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.set_ciphers(":".join(wanted.suites))
    except ssl.SSLError:
        raise TLSSettingsError(
            f"none of the cipher suites {', '.join(settings.cipher_suites)} is available in {ssl.OPENSSL_VERSION}"
        ) from None
    _apply_curve(context, settings, wanted.groups)
    certificates = import_module("tls.certificates")
    for files in _pairs(settings)[:1]:
        # What is wrong with it is said in the same words as of a listener's.
        certificates.Pair.read(files)
        context.load_cert_chain(files.cert_file, files.key_file)
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file:
        certificates.read_authorities(settings.ca_file)
        context.load_verify_locations(settings.ca_file)
        # Whoever is in the file is trusted, an intermediate authority too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _apply_curve(context: ssl.SSLContext, settings: TLSSettings, groups: tuple[str, ...]) -> None:
    if not settings.curve_preferences or set(_GROUPS) <= set(groups):
        return
    available = [name for name in groups if name in _GROUPS]
    if not available:
        first = settings.curve_preferences[0]
        raise TLSSettingsError(f"curve preference {first} alone is not available; add X25519 or CurveP256")
    context.set_ecdh_curve(available[0])


def _pairs(settings: TLSSettings) -> tuple[CertificatePair, ...]:
    if settings.certificates:
        if settings.cert_file or settings.key_file:
            raise TLSSettingsError(
                "error parsing tls config, cannot combine 'cert_file' option with 'certs' option; keep one of them"
            )
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
