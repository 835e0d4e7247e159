"""Certificates that follow one another in the same files, and the ways in which files come to hold others."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from broker.config.options import TLSOptions

DAY = datetime.timedelta(days=1)
HERE = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
QUICK = 0.02
"""Seconds between two looks of a server under test."""

MEMORY = Path("/dev/shm")
"""Where files lie in memory, as secrets of Kubernetes do; a disk may take longer to rename one than looks wait."""


@dataclass(frozen=True)
class Holder:
    """A certificate with its key and its issuer; an authority issues others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: Holder | None = None

    def issue(
        self,
        name: str = "localhost",
        *,
        names: Sequence[x509.GeneralName] = HERE,
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = 90 * DAY,
        usage: x509.ObjectIdentifier | None = None,
        is_authority: bool = False,
    ) -> Holder:
        """One more certificate; times are counted from now."""
        return _made(name, self, names=names, begins=begins, ends=ends, usage=usage, is_authority=is_authority)

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """The certificate and the authorities between it and the root."""
        is_between = self.issuer is not None and self.issuer.issuer is not None
        return self.pem + (self.issuer.chain if self.issuer is not None and is_between else b"")

    @property
    def key_pem(self) -> bytes:
        """The private key in the clear."""
        return self.locked()

    def locked(self, how: KeySerializationEncryption | None = None) -> bytes:
        """The private key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())

    @property
    def der(self) -> bytes:
        """What a peer sees of it."""
        return self.certificate.public_bytes(Encoding.DER)


def root(name: str = "Test Root") -> Holder:
    """An authority that signed itself."""
    return _made(name, None, names=(), begins=-DAY, ends=3650 * DAY, usage=None, is_authority=True)


def _made(
    name: str,
    issuer: Holder | None,
    *,
    names: Sequence[x509.GeneralName],
    begins: datetime.timedelta,
    ends: datetime.timedelta,
    usage: x509.ObjectIdentifier | None,
    is_authority: bool,
) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    signing = key if issuer is None else issuer.key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Holder(builder.sign(signing, hashes.SHA256()), key, issuer)


@dataclass(frozen=True)
class Place:
    """Where a listener has its files."""

    directory: Path

    @property
    def cert_file(self) -> Path:
        return self.directory / "tls.crt"

    @property
    def key_file(self) -> Path:
        return self.directory / "tls.key"

    def options(self, **fields: Any) -> TLSOptions:
        """A listener that looks often."""
        return TLSOptions(cert_file=str(self.cert_file), key_file=str(self.key_file), **{"watch": QUICK, **fields})

    def put(self, holder: Holder) -> None:
        """Moves new files over the old ones, as most tools do."""
        move_over({self.key_file: holder.key_pem, self.cert_file: holder.chain})


def move_over(files: Mapping[Path, bytes]) -> None:
    """Each path is the old file, then the new one, never something between."""
    for path, data in files.items():
        path.with_suffix(f"{path.suffix}.new").write_bytes(data)
    for path in files:
        path.with_suffix(f"{path.suffix}.new").replace(path)


@dataclass(frozen=True)
class Volume(Place):
    """A secret that Kubernetes projects: links through one link to a directory, which is turned in one step."""

    def put(self, holder: Holder) -> None:
        number = sum(1 for _ in self.directory.glob("..version-*"))
        version = self.directory / f"..version-{number}"
        version.mkdir()
        (version / "tls.crt").write_bytes(holder.chain)
        (version / "tls.key").write_bytes(holder.key_pem)
        data, beside = self.directory / "..data", self.directory / "..data_tmp"
        before = data.resolve() if data.is_symlink() else None
        beside.symlink_to(version.name)
        os.replace(beside, data)
        for path in (self.cert_file, self.key_file):
            if not path.is_symlink():
                path.symlink_to(Path("..data") / path.name)
        if before is not None:
            shutil.rmtree(before)
            before.mkdir()


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory in memory, where there is such a place."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def trusting(*authorities: Holder, shows: Holder | None = None, directory: Path | None = None) -> ssl.SSLContext:
    """A client that verifies the server's certificate and its name; it shows one of its own through a directory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="".join(one.pem.decode() for one in authorities))
    if shows is not None and directory is not None:
        (directory / "own.pem").write_bytes(shows.chain + shows.key_pem)
        context.load_cert_chain(directory / "own.pem")
    return context


LOCKED = BestAvailableEncryption(b"secret")
