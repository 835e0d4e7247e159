"""Versions and cipher suites of TLS by their usual names."""

from __future__ import annotations

from typing import Final

from tls.policy import INSECURE_SUITES, SECURE_SUITES

_VERSIONS: Final = {"TLSv1.2": "1.2", "TLSv1.3": "1.3"}
_SUITES: Final = {
    name: suite for suite, name in reversed([*SECURE_SUITES.items(), *INSECURE_SUITES.items()])
}


def version_name(name: str) -> str:
    """A protocol version without the protocol's name."""
    return _VERSIONS.get(name, name)


def suite_name(name: str) -> str:
    """The IANA name of a cipher suite that OpenSSL names."""
    return _SUITES.get(name, name)
