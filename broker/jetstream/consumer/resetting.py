"""Requests to a consumer to begin again elsewhere. They come to it directly, as those for messages do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from broker.jetstream.access import Access
from broker.jetstream.codec import JsonError, Plain, Uint64, dumps, unmarshal
from broker.jetstream.config.words import DeliverPolicy
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish.headers import asks_too_much

if TYPE_CHECKING:
    from broker.control.internal import Received
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.store.tables import StoreError

_TYPE: Final = "io.nats.jetstream.api.v1.consumer_reset_response"


class ResetRequest(msgspec.Struct, kw_only=True):
    """Where to begin again; 0 is behind all that was acknowledged."""

    GO_NAME: ClassVar[str] = "JSApiConsumerResetRequest"

    seq: Uint64 = 0


class Resetting:
    """Takes these requests for one consumer."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._internal = consumer.stream.account.internal
        subject = f"$JS.API.CONSUMER.RESET.{consumer.stream.name}.{consumer.name}"
        self._asking = self._internal.subscribe(subject, self._asked)

    def close(self) -> None:
        """Takes no more of them."""
        self._internal.unsubscribe(self._asking)

    def _asked(self, received: Received) -> None:
        if not received.reply:
            return
        access = Access.of(received, self._consumer.stream.account)
        if not access.may_answer(received.reply):
            return
        try:
            access.check_asker()
            if asks_too_much(received.header):
                raise ApiError.REQUIRED_API_LEVEL.error()
            sequence = self._consumer.delivery.reset(self._wanted(received.payload))
        except JetStreamError as error:
            self._refuse(received, error)
            return
        answer = {**self._consumer.info(), "reset_seq": sequence}
        self._consumer.stream.account.store.after(partial(self._kept, received, answer))

    def _wanted(self, payload: bytes) -> int | None:
        """The sequence that is asked for, as far as the consumer may go there. Raises JetStreamError."""
        try:
            sequence = unmarshal(payload, ResetRequest).seq if payload else 0
        except JsonError as error:
            raise ApiError.INVALID_JSON.error(err=error) from None
        if not sequence:
            return None
        config, log = self._consumer.config, self._consumer.stream.log
        if config.deliver_policy is DeliverPolicy.BY_START_SEQUENCE:
            if sequence < config.opt_start_seq:
                raise ApiError.CONSUMER_INVALID_RESET.error(err="below start seq")
        elif config.deliver_policy is DeliverPolicy.BY_START_TIME:
            if sequence < log.at_time(config.opt_start_time or 0):
                raise ApiError.CONSUMER_INVALID_RESET.error(err="below start time")
        elif config.deliver_policy is not DeliverPolicy.ALL:
            raise ApiError.CONSUMER_INVALID_RESET.error(err="not allowed")
        return sequence

    def _kept(self, received: Received, answer: Plain, problem: StoreError | None) -> None:
        if problem is None:
            self._say(received, answer)
        else:
            self._refuse(received, ApiError.STREAM_STORE_FAILED.error(err=problem.told))

    def _refuse(self, received: Received, error: JetStreamError) -> None:
        self._say(received, {"error": error.plain(), "reset_seq": 0})

    def _say(self, received: Received, facts: Plain) -> None:
        self._internal.publish(received.reply, dumps({"type": _TYPE, **facts}))
