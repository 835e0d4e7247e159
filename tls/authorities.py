"""Finds the certificates of authorities by their name, in a bundle or among those that this machine trusts."""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def called(name: x509.Name, bundle: bytes) -> Iterator[x509.Certificate]:
    """The certificates of a PEM bundle that hold a name; others, of which some break rules, are not even parsed."""
    wanted = name.public_bytes()
    for block in _BLOCK.findall(bundle):
        try:
            der = base64.b64decode(block)
            if wanted in der:
                yield x509.load_der_x509_certificate(der)
        except ValueError:
            continue


def bundles_of_the_system() -> Iterator[bytes]:
    """What programs of this machine trust, in PEM: one file, or a directory of many."""
    paths = ssl.get_default_verify_paths()
    # In a directory OpenSSL finds them by names that are a hash with a number.
    files = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else []
    for path in (*([Path(paths.cafile)] if paths.cafile else []), *files):
        with contextlib.suppress(OSError):
            yield path.read_bytes()
