from collections.abc import Callable
from typing import Protocol

from broker.core.plan import Client, Gate, Namespace, PlanCache
from broker.core.transform import Transform

class Measurement(Protocol):
    def delivered(self, client: Client) -> None: ...
    def timed_out(self) -> None: ...
    def abandoned(self) -> None: ...
    def no_responders(self) -> None: ...

class Meter(Protocol):
    def begin(self, sender: Client, header: bytes | None) -> Measurement | None: ...
    def bad_request(self, sender: Client, header: bytes | None) -> None: ...

class Crossing(Gate):
    def __init__(
        self,
        here: Namespace,
        back: PlanCache,
        there: PlanCache,
        inward: Transform | None,
        *,
        link: object,
        service: object,
        many: bool,
        threshold: float,
        meter: Meter | None,
        watch: Callable[[Crossing], None],
    ) -> None: ...
    @property
    def here(self) -> Namespace: ...
    @property
    def there(self) -> PlanCache: ...
    link: object
    @property
    def waiting(self) -> int: ...
    def expire(self, now: float) -> float | None: ...
    def close(self) -> None: ...

class Answer(Gate):
    @property
    def asker(self) -> Namespace: ...
