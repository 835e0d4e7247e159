"""Everything about options that can fail short of opening sockets, done once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auth.authenticate import Authenticator
from broker.config.validate import validate
from broker.settings import auth_settings
from tls.context import server_context

if TYPE_CHECKING:
    import ssl

    from auth.resolver import AccountResolver
    from broker.config.options import Options


@dataclass(frozen=True, slots=True)
class Checked:
    """Options that a server can run with, and what was built of them on the way."""

    options: Options
    authenticator: Authenticator
    tls_context: ssl.SSLContext | None
    websocket_context: ssl.SSLContext | None
    has_plain_secrets: bool
    """Whether a password or token stands in the clear."""


def check(options: Options, resolver: AccountResolver | None = None) -> Checked:
    """Checks options and builds what a server needs of them; may run in a thread. ``resolver`` is one that goes on.

    Raises ConfigError, auth.settings.SettingsError and tls.policy.TLSSettingsError.
    """
    validate(options)
    settings = auth_settings(options, resolver)
    authenticator = Authenticator(settings)
    # Certificates are read from their files each time, which may hold others than before under the same names.
    context = None if options.tls is None else server_context(options.tls)
    own = options.websocket.tls if options.websocket.port else None
    websocket_context = None if own is None else server_context(own)
    return Checked(options, authenticator, context, websocket_context, settings.has_plain_secrets)
