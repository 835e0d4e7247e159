"""What a listener shows: the context of its handshakes, and the facts of the certificates in it.

Both are built of files as a whole and replaced as a whole. What is to take the place of something else is held against
it first, so that a mistake in a file turns nobody away who could connect before.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tls.context import server_context
from tls.identity import CertificateFormatError
from tls.policy import TLSSettings, TLSSettingsError

if TYPE_CHECKING:
    from tls.engine import ServerContext
    from tls.revocation.lists import RevocationLists

LONGEST_NOTICE: Final = 7 * 24 * 3600.0
"""Seconds before its end at which a certificate is worth a warning, where nobody says when."""

SHARE_OF_LIFE: Final = 6
"""Of a certificate that lives shorter, the last sixth is: whoever renews automatically does so at a third or a half."""


_FIRST_LINE: Final = re.compile(rb"-----BEGIN ")
_LAST_LINE: Final = re.compile(rb"-----END [^-\n]*-----")


class UnsettledFilesError(TLSSettingsError):
    """Files changed while they were read."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate with the intermediate ones that go with it, as one file holds them. Times are Unix seconds."""

    file: str
    subject: str
    """Its distinguished name (RFC 4514)."""
    dns_names: tuple[str, ...]
    """The hosts that it is good for, in lower case; without alternative names it is the common name."""
    addresses: tuple[str, ...]
    """The IP addresses that it is good for."""
    serial: str
    """Hex digits."""
    fingerprints: tuple[str, ...]
    """Lower-case hex SHA-256 of each certificate of the file in DER, its own first."""
    not_before: float
    not_after: float
    ends_at: float
    """When the first certificate of the chain ends, and clients begin to refuse it."""
    issuer: tuple[bytes, bytes]
    """Who issued the last certificate of the chain: the name in DER and the key's identifier, which may be empty."""
    promises_staple: bool = False
    """Whether its holder promises to show an OCSP answer about it (must-staple, RFC 7633)."""

    @property
    def name(self) -> str:
        """What it is called in a word."""
        return next(iter(self.dns_names + self.addresses), self.subject)

    def is_due(self, now: float, notice: float | None = None) -> bool:
        """Whether it ends soon or has ended; `notice` are the seconds before its end from which that is so."""
        if notice is None:
            notice = min(LONGEST_NOTICE, (self.not_after - self.not_before) / SHARE_OF_LIFE)
        return now >= self.ends_at - notice


@dataclass(frozen=True, slots=True)
class Served:
    """What one listener shows."""

    settings: TLSSettings
    context: ServerContext
    chains: tuple[Chain, ...]
    """In the order of the settings; one that cannot be read is left out."""
    digests: Mapping[str, str]
    """By file: the SHA-256 of what it held when the context was built."""
    lists: RevocationLists | None = None
    """What the authorities of clients have revoked; None where no list is asked for."""

    def changed_files(self, before: Served) -> tuple[str, ...]:
        """The files that hold something else than they did, or were not among them."""
        return tuple(path for path, digest in self.digests.items() if before.digests.get(path) != digest)

    def lost_names(self, before: Served) -> tuple[str, ...]:
        """Hosts and addresses that certificates were good for and are not any more."""
        return lost_names(before.chains, self.chains)


def serve(settings: TLSSettings, before: Served | None = None, now: float | None = None) -> Served:
    """Builds what a listener shows of its files; may run in a thread, since it reads them.

    Where it is to take the place of something, each chain that is not served already is checked as ``tls.chains``
    says. Where the same files are to hold it, it must also be good for every name that was served; whoever names other
    files may mean to give names up.

    Raises:
        UnsettledFilesError: somebody was writing the files.
        TLSSettingsError: it cannot be served; the text names the file and the remedy.
    """
    contents = read_files(settings)
    digests = digests_of(contents)
    if before is not None:
        _check_whole(contents)
    context = server_context(settings)
    chains = _chains(settings, contents, before, time.time() if now is None else now)
    if before is not None and before.settings.files == settings.files:
        lost = lost_names(before.chains, chains)
        if lost:
            raise TLSSettingsError(
                f"the certificate in {' or '.join(_certificate_files(settings))} is not good for {', '.join(lost)}, "
                "as the one that is served; issue it for these names too, or name other files in the configuration"
            )
    lists = _lists(settings, contents, digests, before)
    if read_files(settings) != contents:
        raise UnsettledFilesError("the files of the certificate change while they are read; try again")
    return Served(settings, context, chains, digests, lists)


def read_files(settings: TLSSettings) -> dict[str, bytes | None]:
    """What each of the files holds; None for one that cannot be read."""
    return {path: _read(path) for path in settings.files}


def digests_of(contents: Mapping[str, bytes | None]) -> dict[str, str]:
    """The SHA-256 of each, in hex; nothing for one that could not be read."""
    return {path: "" if data is None else hashlib.sha256(data).hexdigest() for path, data in contents.items()}


def lost_names(before: Sequence[Chain], after: Sequence[Chain]) -> tuple[str, ...]:
    """Hosts and addresses that only the earlier chains are good for.

    Whoever connects by an address names no host (RFC 6066, section 3) and is shown the first chain; so the addresses of
    the others never counted.
    """
    have = {name for chain in after for name in chain.dns_names}
    hosts = {name for chain in before for name in chain.dns_names}
    numbers = {number for chain in before[:1] for number in chain.addresses}
    numbers -= {number for chain in after[:1] for number in chain.addresses}
    return (*sorted(name for name in hosts if name not in have and _one_above(name) not in have), *sorted(numbers))


def _check_whole(contents: Mapping[str, bytes | None]) -> None:
    """Raises TLSSettingsError for a file of which only the beginning is there, of which OpenSSL says odd things."""
    for path, data in contents.items():
        if data and len(_FIRST_LINE.findall(data)) != len(_LAST_LINE.findall(data)):
            raise TLSSettingsError(f"{path} ends before its end; write the whole file, and move it into its place")


def _one_above(name: str) -> str:
    """The wildcard that covers a name, which is no other wildcard."""
    host, _, domain = name.partition(".")
    return "" if host == "*" else f"*.{domain}"


def _certificate_files(settings: TLSSettings) -> tuple[str, ...]:
    return tuple(pair.cert_file for pair in settings.certificates) or (settings.cert_file,)


def _chains(
    settings: TLSSettings, contents: Mapping[str, bytes | None], before: Served | None, now: float
) -> tuple[Chain, ...]:
    # What reads certificates takes long to load, and a server without TLS reads none.
    chains = import_module("tls.chains")
    served = () if before is None else before.chains
    known = {chain.fingerprints: chain for chain in served}
    found: list[Chain] = []
    for path in _certificate_files(settings):
        try:
            chain, links = chains.read_chain(path, contents.get(path) or b"")
        except CertificateFormatError as error:
            if before is None:
                # The TLS library looks at fewer fields, and takes it; then there is nothing to say about it.
                continue
            raise TLSSettingsError(f"{path} cannot be read: {error}; issue the certificate anew") from None
        # Whatever is served is served on: a reload about something else must not fail for it.
        if before is not None and chain.fingerprints not in known:
            authorities = contents.get(settings.ca_file) or b""
            chains.check_chain(path, links, now, {one.issuer for one in served}, authorities)
        found.append(chain)
    return tuple(found)


def _lists(
    settings: TLSSettings,
    contents: Mapping[str, bytes | None],
    digests: Mapping[str, str],
    before: Served | None,
) -> RevocationLists | None:
    if not settings.crl_files:
        return None
    if before is not None and before.settings.crl_files == settings.crl_files and all(
        before.digests.get(path) == digests[path] for path in settings.crl_files
    ):
        # They may be long, and another certificate is no reason to read them again.
        return before.lists
    module = import_module("tls.revocation.lists")
    lists: RevocationLists = module.read_lists({path: contents[path] for path in settings.crl_files})
    return lists


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return None
