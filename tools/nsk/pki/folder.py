"""The directory of a PKI, flat: ``ca.pem`` and ``ca-key.pem``, ``NAME.pem`` and ``NAME-key.pem`` of each certificate.

Where an ``intermediate.pem`` lies, it issues in place of the CA. ``ca-crl.pem`` and ``intermediate-crl.pem`` are what
each has revoked. All files have mode 0600 and the directory 0700; whoever is to have one is given a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.pki.issue import Pair, Revoked, revoked_by
from tools.nsk.pki.names import file_name
from tools.nsk.transaction import Files

AUTHORITY: Final = "ca"
INTERMEDIATE: Final = "intermediate"
ISSUERS: Final = (AUTHORITY, INTERMEDIATE)
_SUFFIX: Final = ".pem"
_KEY_SUFFIX: Final = "-key.pem"
_CRL_SUFFIX: Final = "-crl.pem"

Read = TypeVar("Read")


class Folder:
    """The files of one PKI. What cannot be read raises NskError."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self.directory = directory
        self.files = files or Files()

    # Where things are.

    def certificate_path(self, name: str) -> Path:
        """The file of a certificate, with the CAs between it and the root below it."""
        return self.directory / f"{name}{_SUFFIX}"

    def key_path(self, name: str) -> Path:
        """The file of a private key."""
        return self.directory / f"{name}{_KEY_SUFFIX}"

    def crl_path(self, issuer: str) -> Path:
        """The file of a CA's CRL."""
        return self.directory / f"{issuer}{_CRL_SUFFIX}"

    @property
    def exists(self) -> bool:
        """Whether there is a CA."""
        return self.files.is_file(self.certificate_path(AUTHORITY))

    @property
    def issuer_name(self) -> str:
        """Which CA issues: the intermediate one where there is one."""
        return INTERMEDIATE if self.files.is_file(self.certificate_path(INTERMEDIATE)) else AUTHORITY

    @property
    def issuers(self) -> tuple[str, ...]:
        """The CAs that there are, the root first."""
        return ISSUERS if self.issuer_name == INTERMEDIATE else (AUTHORITY,)

    def names(self) -> list[str]:
        """The certificates that there are, the CAs first."""
        found = [name.removesuffix(_SUFFIX) for name in self.files.names(self.directory) if name.endswith(_SUFFIX)]
        others = sorted(name for name in found if not name.endswith(("-key", "-crl")) and name not in ISSUERS)
        return [*(name for name in ISSUERS if name in found), *others]

    def check_name(self, given: str) -> str:
        """A name for a new certificate. Raises NskError."""
        return file_name(given, ISSUERS)

    # Reading.

    def certificates(self, name: str) -> tuple[x509.Certificate, ...]:
        """A certificate, and the CAs that stand below it in its file."""
        path = self.certificate_path(name)
        found = self._read(path, x509.load_pem_x509_certificates, "certificate")
        if found is None:
            known = ", ".join(self.names()) or "none"
            raise NskError(f"there is no certificate {quote(name)} in `{self.directory}`", remedy=f"there are: {known}")
        return tuple(found)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        """A private key, or None when it is not here."""
        path = self.key_path(name)
        key = self._read(path, lambda data: serialization.load_pem_private_key(data, password=None), "private key")
        if key is not None and not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NskError(f"`{path}` holds a key of another kind than ECDSA", remedy="nsk makes and takes ECDSA keys")
        return key

    def pair(self, name: str) -> Pair:
        """A certificate with its key."""
        certificate, *chain = self.certificates(name)
        key = self.key(name)
        if key is None:
            raise NskError(
                f"the private key of {quote(name)} is not in `{self.directory}`",
                remedy=f"bring `{self.key_path(name)}` back from where it is kept",
            )
        if key.public_key() != certificate.public_key():
            raise NskError(
                f"`{self.key_path(name)}` is not the key of `{self.certificate_path(name)}`",
                remedy="bring the two that belong together",
            )
        return Pair(certificate, key, tuple(chain))

    def issuer(self) -> Pair:
        """The CA that issues, with its key."""
        self.require()
        return self.pair(self.issuer_name)

    def require(self) -> None:
        """Refuse to go on where there is no CA."""
        if not self.exists:
            raise NskError(
                f"there is no CA in `{self.directory}`",
                remedy="nsk pki init makes one; --dir names the directory of another",
            )

    def issuer_certificates(self) -> list[x509.Certificate]:
        """The CAs that vouch for what is issued, the root last."""
        return [self.certificates(name)[0] for name in reversed(self.issuers)]

    def crl(self, issuer: str) -> x509.CertificateRevocationList | None:
        """What a CA has revoked, or None where it never made a CRL. One that somebody else signed is refused."""
        path = self.crl_path(issuer)
        crl = self._read(path, x509.load_pem_x509_crl, "CRL")
        if crl is None:
            return None
        key = self.certificates(issuer)[0].public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        if not crl.is_signature_valid(key):
            raise NskError(
                f"`{path}` is not signed by the {issuer} CA of this directory",
                remedy="bring back the CRL that belongs here: a new one would forget what is revoked",
            )
        return crl

    def revoked(self) -> dict[int, Revoked]:
        """Everything that is revoked, by serial number."""
        crls = (self.crl(issuer) for issuer in self.issuers)
        return {one.serial: one for crl in crls if crl is not None for one in revoked_by(crl)}

    def _read(self, path: Path, load: Callable[[bytes], Read], what: str) -> Read | None:
        try:
            text = self.files.read(path)
            return None if text is None else load(text.encode())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise NskError(
                f"`{path}` holds no {what} that can be read", remedy="bring it back from a backup, or remove the file"
            ) from None

    # Writing.

    def write(self, name: str, pair: Pair) -> None:
        """Store a certificate and its key, over those that may be there."""
        # The key first: whoever sees the new certificate finds its key beside it.
        self.files.write(self.key_path(name), pair.key_text)
        self.files.write(self.certificate_path(name), pair.certificate_text)

    def write_crl(self, issuer: str, crl: x509.CertificateRevocationList) -> Path:
        """Store a CRL."""
        path = self.crl_path(issuer)
        self.files.write(path, crl.public_bytes(serialization.Encoding.PEM).decode("ascii"))
        return path


def is_issued_by(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> bool:
    """Whether one of the CAs signed a certificate."""
    for issuer in issuers:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a moment lies within a certificate's time."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
