"""Certificates that follow one another in the same files, and the ways in which files come to hold others."""

from __future__ import annotations

import datetime
import os
import shutil
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from broker.config.options import TLSOptions
from tests.support.authorities import DAY, LOCAL, Holder, now

QUICK = 0.02
"""Seconds between two looks of a server under test."""

MEMORY = Path("/dev/shm")
"""Where files lie in memory, as secrets of Kubernetes do; a disk may take longer to rename one than looks wait."""


def renewed(
    issuer: Holder,
    name: str = "localhost",
    *,
    names: Iterable[x509.GeneralName] = LOCAL,
    begins: datetime.timedelta = -DAY,
    ends: datetime.timedelta = 90 * DAY,
    usage: x509.ObjectIdentifier | None = None,
    authority: bool = False,
) -> Holder:
    """One more certificate; times are counted from now."""
    moment = now()
    return issuer.issue(
        name, names=names, begins=moment + begins, ends=moment + ends, usage=usage, authority=authority
    )


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
        move_over({self.key_file: holder.key_pem(), self.cert_file: holder.chain_pem})


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
        (version / "tls.crt").write_bytes(holder.chain_pem)
        (version / "tls.key").write_bytes(holder.key_pem())
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
        (directory / "own.pem").write_bytes(shows.chain_pem + shows.key_pem())
        context.load_cert_chain(directory / "own.pem")
    return context


LOCKED = BestAvailableEncryption(b"secret")
