"""What TLS may look like: versions, cipher suites and curves by their standard names, and the settings of one side.

Names follow the IANA registry for cipher suites and the spelling of NATS configuration files for curves, so that a file
written for another NATS server means the same here. Nothing below TLS 1.2 can be asked for (RFC 8996).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


class TLSSettingsError(ValueError):
    """TLS settings that cannot be used; the text names the culprit (a name, a file) and the remedy."""


VERSIONS: Final = ("1.2", "1.3")
_OLD_VERSIONS: Final = ("1.0", "1.1")

# In the order of preference: 128 bits are as safe as can be asked for, and a third quicker than 256.
TLS13_SUITES: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

# Ephemeral keys and authenticated encryption, the suites of TLS 1.2 that RFC 9325 section 4.2 recommends.
SECURE_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
}
INSECURE_SUITES: Final = {
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "TLS_RSA_WITH_RC4_128_SHA": "RC4-SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": "ECDHE-RSA-DES-CBC3-SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": "ECDHE-ECDSA-RC4-SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA": "ECDHE-RSA-RC4-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
}

# Suites with CBC are left out of the default: they are secure only with an extension that older peers lack (RFC 7366).
_DEFAULT_SUITES: Final = tuple(dict.fromkeys(name for suite, name in SECURE_SUITES.items() if "_CBC_" not in suite))

CURVES: Final = {
    "X25519MLKEM768": "X25519MLKEM768",
    "SecP384r1MLKEM1024": "SecP384r1MLKEM1024",
    "SecP256r1MLKEM768": "SecP256r1MLKEM768",
    "X25519": "X25519",
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
}
"""Groups for the exchange of keys, in the order of preference, each with OpenSSL's name for it."""

HYBRID: Final = frozenset({"X25519MLKEM768", "SecP384r1MLKEM1024", "SecP256r1MLKEM768"})
"""Those that hold against quantum computers too, which older libraries lack."""

DEFAULT_WATCH: Final = 1.0
"""Seconds between two looks at the files of a listener."""


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """Paths of a PEM certificate chain and of its private key."""

    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSSettings:
    """One side of TLS, as plain data; :mod:`tls.context` turns it into what secures connections."""

    cert_file: str = ""
    """PEM file with the certificate and its chain; empty when ``certificates`` is used."""
    key_file: str = ""
    """PEM file with the private key of ``cert_file``."""
    certificates: tuple[CertificatePair, ...] = ()
    """Several pairs; the name that the client asks for (SNI) chooses among them. Not together with ``cert_file``."""
    ca_file: str = ""
    """PEM bundle of the authorities that sign client certificates; empty means those of the system."""
    verify: bool = False
    """Whether a client must show a certificate that one of the authorities signed."""
    insecure: bool = False
    """For the dialling side only: accept any server certificate."""
    min_version: str = "1.2"
    """Lowest protocol version, one of :data:`VERSIONS`. The highest is always 1.3."""
    cipher_suites: tuple[str, ...] = ()
    """IANA names of suites, in order of preference; empty means all of 1.3, and of 1.2 :data:`SECURE_SUITES` with
    authenticated encryption. Where it names none of 1.3, all of those may be used as well."""
    allow_insecure_cipher_suites: bool = False
    """Whether names of :data:`INSECURE_SUITES` may stand in ``cipher_suites``."""
    curve_preferences: tuple[str, ...] = ()
    """Names of :data:`CURVES`, in order of preference; empty means all of them."""
    crl_files: tuple[str, ...] = ()
    """Files with the revocation lists of the authorities that sign client certificates; needs ``verify``. Without any,
    no list is asked for."""
    allow_without_crl: bool = False
    """Whether client certificates are accepted though no list is in force that covers them."""
    pinned_certs: frozenset[str] = frozenset()
    """Lower-case hex SHA-256 digests of the SubjectPublicKeyInfo of the only certificates to accept; empty is any."""
    watch: float = DEFAULT_WATCH
    """For listeners: seconds between two looks at the files for a renewal; 0 is never."""
    expiry_warning: float | None = None
    """For listeners: seconds before a certificate's end from which there are warnings; None is
    :data:`tls.served.LONGEST_NOTICE`, or less for one that does not live long."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that decides about handshakes, each once. Where one of them changes, another context is due."""
        pairs = (CertificatePair(self.cert_file, self.key_file), *self.certificates)
        named = (*(path for pair in pairs for path in (pair.cert_file, pair.key_file)), self.ca_file, *self.crl_files)
        return tuple(dict.fromkeys(path for path in named if path))


@dataclass(frozen=True, slots=True)
class Terms:
    """What settings ask of a connection, in OpenSSL's names: the one source for every library that is used."""

    minimum_version: str
    suites: tuple[str, ...]
    """Of TLS 1.2, in the order of preference."""
    suites_13: tuple[str, ...]
    groups: tuple[str, ...]
    """For the exchange of keys, in the order of preference."""


def terms(settings: TLSSettings) -> Terms:
    """What settings come to.

    Raises:
        TLSSettingsError: a name is unknown, or insecure suites are named that are not allowed.
    """
    check_version(settings.min_version)
    for name in settings.cipher_suites:
        check_cipher(name)
    check_cipher_choice(settings.cipher_suites, allow_insecure=settings.allow_insecure_cipher_suites)
    for name in settings.curve_preferences:
        check_curve(name)
    known = {**SECURE_SUITES, **INSECURE_SUITES}
    chosen = tuple(dict.fromkeys(known[name] for name in settings.cipher_suites if name in known))
    chosen_13 = tuple(dict.fromkeys(name for name in settings.cipher_suites if name in TLS13_SUITES))
    return Terms(
        # Where only suites of TLS 1.3 were asked for, no older version can be spoken.
        minimum_version="1.3" if chosen_13 and not chosen else settings.min_version,
        suites=chosen or _DEFAULT_SUITES,
        suites_13=chosen_13 or TLS13_SUITES,
        groups=tuple(CURVES[name] for name in dict.fromkeys(settings.curve_preferences or CURVES)),
    )


def check_version(name: str) -> None:
    """Checks a protocol version, ``"1.2"`` or ``"1.3"``.

    Raises:
        TLSSettingsError: it is another; versions below 1.2 are refused (RFC 8996).
    """
    if name in _OLD_VERSIONS:
        raise TLSSettingsError(f"unsupported TLS version: TLS {name}; use {_either(VERSIONS)}")
    if name not in VERSIONS:
        raise TLSSettingsError(f"unknown version: {name}; use {_either(VERSIONS)}")


def check_curve(name: str) -> None:
    """Checks the name of a curve.

    Raises:
        TLSSettingsError: it is none of :data:`CURVES`.
    """
    if name not in CURVES:
        raise TLSSettingsError(f"unrecognized curve preference {name}; use {_either(CURVES)}")


def check_cipher(name: str) -> None:
    """Checks the name of a cipher suite.

    Raises:
        TLSSettingsError: it is unknown.
    """
    if name not in TLS13_SUITES and name not in SECURE_SUITES and name not in INSECURE_SUITES:
        raise TLSSettingsError(f"unrecognized cipher {name}; use an IANA name such as {next(iter(SECURE_SUITES))}")


def check_cipher_choice(names: Iterable[str], *, allow_insecure: bool) -> None:
    """Checks that insecure suites among ``names`` are meant.

    Raises:
        TLSSettingsError: there are insecure ones and ``allow_insecure`` is not set.
    """
    insecure = [name for name in names if name in INSECURE_SUITES]
    if insecure and not allow_insecure:
        raise TLSSettingsError(
            "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: "
            f"{', '.join(insecure)}; remove them"
        )


def _either(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
