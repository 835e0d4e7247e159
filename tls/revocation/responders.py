"""Asks OCSP responders over HTTP (RFC 6960 appendix A), by POST, and by GET where a responder does not take that.

Who is asked stands in a certificate that the TLS library has verified, or in the configuration; no answer leads to any
other place, since redirections are not followed. What comes is not trusted: it is read as :mod:`tls.revocation.answers`
says, and is short or is not read at all.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import urllib.parse
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from yarl import URL

from tls.revocation.answers import AnswerError, DelegationError, OutOfDateError, UnreachableError, shown

LOGGER: Final = logging.getLogger("natskeep.tls")

LARGEST_ANSWER: Final = 64 * 1024
"""Bytes; an answer with the certificates of its signer has some thousand."""

_MOST_CONNECTIONS: Final = 128
_MOST_TO_ONE: Final = 16
"""Questions to one responder at one time, so that one that is slow leaves room for the others."""

_QUESTION: Final = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}

ResultT = TypeVar("ResultT")


class Responders:
    """Connections to responders, of one server."""

    def __init__(self, program: str = "natskeep") -> None:
        self._program = program
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, urls: Sequence[str], question: bytes, read: Callable[[bytes], ResultT], patience: float
    ) -> ResultT:
        """Asks one responder after the other, each for ``patience`` seconds at most, until one gives a usable answer.

        ``read`` makes of the bytes what is returned, or raises AnswerError.

        Raises:
            AnswerError: somebody answered, but nobody usably; it is the last such error.
            UnreachableError: nobody answered at all.
        """
        problems: list[str] = []
        unusable: AnswerError | None = None
        for url in urls:
            try:
                async with asyncio.timeout(patience):
                    return await self._ask(url.rstrip("/"), question, read)
            except TimeoutError:
                problems.append(f"{shown(url)}: no answer in {patience:g} s")
            except AnswerError as error:
                unusable = error
            except (aiohttp.ClientError, OSError, ValueError, UnreachableError) as error:
                problems.append(f"{shown(url)}: {shown(error) or type(error).__name__}")
        if unusable is not None:
            raise unusable
        raise UnreachableError("; ".join(problems) or "it names no OCSP responder")

    async def _ask(self, url: str, question: bytes, read: Callable[[bytes], ResultT]) -> ResultT:
        """By POST, and where that gives nothing usable, by GET. Raises what either raises."""
        try:
            return read(await self._fetch("POST", URL(url, encoded=True), question))
        except (DelegationError, OutOfDateError):
            # It is an answer, and would be the same.
            raise
        except (UnreachableError, AnswerError) as error:
            LOGGER.debug("OCSP responder %s gives no answer to POST (%s), trying GET", shown(url), error)
        # Base64 has characters that mean something in a path.
        encoded = urllib.parse.quote(base64.b64encode(question), safe="")
        return read(await self._fetch("GET", URL(f"{url}/{encoded}", encoded=True), None))

    async def _fetch(self, method: str, url: URL, body: bytes | None) -> bytes:
        """Raises UnreachableError for what is no answer of a responder, and what aiohttp raises."""
        async with self._open().request(
            method, url, data=body, headers=_QUESTION if body is not None else None, allow_redirects=False
        ) as response:
            if response.status != HTTPStatus.OK:
                raise UnreachableError(f"bad OCSP responder http status: [{response.status}]")
            answer = await response.content.read(LARGEST_ANSWER + 1)
            while not response.content.at_eof() and len(answer) <= LARGEST_ANSWER:
                answer += await response.content.read(LARGEST_ANSWER + 1 - len(answer))
        if len(answer) > LARGEST_ANSWER:
            raise UnreachableError(f"its answer is longer than {LARGEST_ANSWER} bytes")
        return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, limit_per_host=_MOST_TO_ONE),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The time that an answer may take is the matter of whoever asks.
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers={"User-Agent": self._program, "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Ends every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
