from collections.abc import Iterable

from broker.core.transform import Transform

class Mapping:
    def __init__(self, rank: int, rest: bool, shares: Iterable[tuple[int, Transform | None]]) -> None: ...
    @property
    def rank(self) -> int: ...

class Mappings:
    def __init__(self, mappings: Iterable[tuple[bytes, Mapping]]) -> None: ...
