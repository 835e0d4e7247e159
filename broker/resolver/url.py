"""JWTs of accounts from an account server: ``GET <url>/<account>`` over HTTP or HTTPS."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp

from auth.envelope import MAXIMUM_TOKEN_BYTES
from broker.identity import VERSION
from broker.resolver.fetcher import FetchError

if TYPE_CHECKING:
    import ssl

_PASSWORD: Final = re.compile(r"//.*@")
"""Up to the last sign that may end a password, in which both may stand by mistake; names of accounts have neither."""
_MOST_CONNECTIONS: Final = 10


class UrlSource:
    """An account server. ``context`` is TLS towards it, None for what the system trusts."""

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        self._url = url if url.endswith("/") else f"{url}/"
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, name: str) -> str:
        """What the server answers for an account, for an empty name what it answers at all. Raises FetchError."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, ssl=self._context or True)
            # The time that a search may take is the matter of whoever searches.
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers={"User-Agent": f"natskeep/{VERSION}"},
            )
        url = self._url + name
        shown = _PASSWORD.sub("//…@", url)
        try:
            async with self._session.get(url) as response:
                if response.status != HTTPStatus.OK:
                    raise FetchError(f'could not fetch <"{shown}">: {response.status} {response.reason or ""}'.rstrip())
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAXIMUM_TOKEN_BYTES:
                        raise FetchError(f'could not fetch <"{shown}">: more than {MAXIMUM_TOKEN_BYTES} bytes')
                return body.decode("ascii").strip()
        except UnicodeDecodeError:
            raise FetchError(f'could not fetch <"{shown}">: what came is not ASCII') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f'could not fetch <"{shown}">: {_why(error)}') from None

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _why(error: Exception) -> str:
    """What a failed request tells, without the address that may hold a password."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate not trusted: {error.certificate_error}"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return type(error).__name__
