"""Everything about options that can fail short of opening sockets, done once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from auth.authenticate import Authenticator
from broker.config.validate import validate
from broker.net.certificates import CLIENT, MONITORING, NOTHING_SERVED, WEBSOCKET
from broker.settings import auth_settings
from tls.revocation.settings import PeerSettings
from tls.served import Served, UnsettledFilesError, serve

if TYPE_CHECKING:
    from auth.resolver import AccountResolver
    from broker.config.options import Options, TLSOptions

ATTEMPTS: Final = 5
"""How often files that change while they are read are read again."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Options that a server can run with, and what was built of them on the way."""

    options: Options
    authenticator: Authenticator
    served: Mapping[str, Served]
    """What each listener with TLS shows."""
    has_plain_secrets: bool
    """Whether a password or token stands in the clear."""


def check(
    options: Options, resolver: AccountResolver | None = None, serving: Mapping[str, Served] = NOTHING_SERVED
) -> Checked:
    """Checks options and builds what a server needs of them; may run in a thread.

    ``resolver`` is one that goes on, ``serving`` is what listeners show of which these take the place.

    Raises ConfigError, auth.settings.SettingsError and tls.policy.TLSSettingsError.
    """
    validate(options)
    settings = auth_settings(options, resolver)
    authenticator = Authenticator(settings)
    # Certificates are read from their files each time, which may hold others than before under the same names.
    served = {name: _settled(tls, serving.get(name)) for name, tls in listeners(options).items()}
    return Checked(options, authenticator, served, settings.has_plain_secrets)


def listeners(options: Options) -> dict[str, TLSOptions]:
    """The settings of each listener with TLS, by its name. Monitoring has the clients', but asks for no certificate."""
    found = {CLIENT: options.tls}
    if options.websocket.port:
        found[WEBSOCKET] = options.websocket.tls
    if options.monitor.https_port and options.tls is not None:
        found[MONITORING] = replace(
            options.tls, verify=False, verify_and_map=False, crl_files=(), ocsp_peer=PeerSettings()
        )
    return {name: tls for name, tls in found.items() if tls is not None}


def _settled(tls: TLSOptions, before: Served | None) -> Served:
    for _ in range(ATTEMPTS):
        try:
            return serve(tls, before)
        except UnsettledFilesError:
            continue
    return serve(tls, before)
