"""Changes and destroys the data keys of accounts in a running server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from broker.control.custody import CustodyError
from broker.jetstream.settings import directory_name
from broker.jetstream.store.tables import StoreError
from broker.log.text import quoted
from broker.session.journal import account_and_user

if TYPE_CHECKING:
    from broker.control.audit import Trail
    from broker.jetstream.keys import Keys
    from broker.jetstream.server import JetStream
    from broker.session.session import Session

LOGGER: Final = logging.getLogger("natskeep.jetstream")


class Custodian:
    """Does for one server what `broker.control.custody.Custody` says."""

    def __init__(self, jetstream: JetStream, keys: Keys, trail: Trail) -> None:
        self._jetstream = jetstream
        self._keys = keys
        self._trail = trail
        self._at_work: set[str] = set()
        """Accounts of which somebody asked for something that is not done yet."""

    async def rotate(self, account: str, by: Session | None) -> dict[str, object]:
        """See `broker.control.custody.Custody`."""
        self._begin(account)
        try:
            streams = self._jetstream.account(account)
            codec = None if streams is None else self._keys.codecs.get(account)
            if streams is None or codec is None:
                raise CustodyError(f"account {account} has no streams here at present, so its key cannot change")
            if codec.is_turning:
                raise CustodyError(f"account {account} is still being sealed anew; ask again when the log says it is")
            before = codec.current.id
            await self._keys.renew(directory_name(account), account, codec)
            streams.store.tidying.turn()
        except StoreError as error:
            raise CustodyError(str(error)) from None
        finally:
            self._at_work.discard(account)
        LOGGER.info("Account %s is sealed by data key %s from now on", quoted(account), codec.current.id)
        self._trail.custody("data_key_rotated", by, target=account, before=before, key=codec.current.id)
        return {"account": account, "key": codec.current.id, "before": before}

    async def shred(self, account: str, by: Session | None) -> dict[str, object]:
        """See `broker.control.custody.Custody`."""
        self._begin(account)
        try:
            name = directory_name(account)
            if not self._keys.has(name):
                raise CustodyError(f"account {account} has nothing on disk here that a key of its own seals")
            async with self._jetstream.without(account):
                shredded = await asyncio.to_thread(self._keys.shred, name, account, "" if by is None else _who(by))
        except StoreError as error:
            LOGGER.error("Account %s: %s", quoted(account), error)
            raise CustodyError(str(error)) from None
        finally:
            self._at_work.discard(account)
        self._keys.tell(shredded, by)
        return {"receipt": shredded.receipt.decode(), "kept": str(shredded.path)}

    def _begin(self, account: str) -> None:
        if not self._keys.is_open:
            raise CustodyError("this server does not encrypt streams: there is no key; set one in the jetstream block")
        if account in self._at_work:
            raise CustodyError(f"the key of account {account} is being changed already; ask again later")
        self._at_work.add(account)


def _who(session: Session) -> str:
    account, user = account_and_user(session)
    return f"{account}/{user}"
