"""Subject mappings of an account: what is published to one subject goes to another, or to several by weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from accounts.permissions import quoted
from accounts.subject import is_valid
from accounts.transform import INVALID_SUBJECT, Choose, InvalidTransformError, SubjectTransform, matched_until

WHOLE: Final = 100
"""All weights of one group together, at most. Weights are percent."""


@dataclass(frozen=True, slots=True)
class WeightedDestination:
    """One destination of a mapping: its share in percent, and the cluster in which it counts, empty for all others."""

    subject: str
    weight: int = WHOLE
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class SubjectMapping:
    """What is published to the subjects that ``source`` matches is published to one of the destinations instead.

    The share that a group of destinations leaves open keeps its subject, unless the source itself is listed as a
    destination: then that share is dropped. Where a server's cluster has a group of its own, that group counts in
    place of the general one. ``origin`` names the place that declares the mapping.
    """

    source: str
    destinations: tuple[WeightedDestination, ...]
    origin: str = ""
    _groups: Mapping[str, tuple[tuple[int, SubjectTransform | None], ...]] = field(
        init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        """Raises InvalidTransformError with the text of nats-server."""
        if not is_valid(self.source):
            raise InvalidTransformError(INVALID_SUBJECT)
        totals: dict[str, int] = {}
        transforms: dict[str, list[tuple[int, SubjectTransform | None]]] = {}
        seen: set[str] = set()
        for destination in self.destinations:
            if destination.subject in seen:
                raise InvalidTransformError(f"duplicate entry for {quoted(destination.subject)}")
            seen.add(destination.subject)
            if not 0 <= destination.weight <= WHOLE:
                raise InvalidTransformError("individual weights need to be <= 100")
            total = totals[destination.cluster] = totals.get(destination.cluster, 0) + destination.weight
            if total > WHOLE:
                raise InvalidTransformError("total weight needs to be <= 100")
            transform = SubjectTransform.parse(self.source, destination.subject)
            transforms.setdefault(destination.cluster, []).append((total, transform))
        if self.source in seen:
            for group in transforms.values():
                group.append((WHOLE, None))
        groups = {cluster: tuple(group) for cluster, group in transforms.items()}
        object.__setattr__(self, "_groups", MappingProxyType(groups))

    def shares(self, cluster: str) -> tuple[tuple[int, SubjectTransform | None], ...]:
        """Ceilings in percent, rising, each with where that share goes; None where it is dropped.

        What lies above the last ceiling keeps its subject. ``cluster`` is that of the server, empty without one.
        """
        return self._groups.get(cluster) or self._groups.get("", ())

    def matches(self, subject: str) -> bool:
        """Whether the mapping decides where a message to this subject goes."""
        return matched_until(self.source, subject) is not None

    def apply(self, subject: str, cluster: str, choose: Choose) -> str | None:
        """Where a message goes that was published to a subject that the source matches; None where it is dropped.

        Args:
            subject: the subject published to.
            cluster: the name of the server's cluster, empty without one.
            choose: picks a number from 0 up to and without its argument.
        """
        group = self.shares(cluster)
        roll = choose(WHOLE) if group and group[0][0] < WHOLE else 0
        for ceiling, transform in group:
            if roll < ceiling:
                return None if transform is None else transform.apply(subject, choose)
        return subject
