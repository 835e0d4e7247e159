"""On which subjects a stream has messages, or can come to have some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.reach import Holdings
from accounts.subject import REST, intersection
from accounts.transform import InvalidTransformError, SubjectTransform
from broker.control.tenant import wire
from broker.core.log import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.jetstream.config.stream import StreamConfig, StreamSource
    from broker.jetstream.stream import Stream

    Others = Callable[[str], StreamConfig | None]

_OF_ANY_LENGTH: Final = ("split", "slice")
"""What the functions begin with that make any number of tokens of one."""


def holdings(stream: Stream) -> Holdings:
    """What a stream can have by its configuration, and what it has."""
    subjects = tuple(subjects_of(stream.config, stream.account.stream_config))
    return Holdings(stream.name, subjects, lambda pattern: stream.log.next(Filter([wire(pattern)]), 0) > 0)


def subjects_of(config: StreamConfig, others: Others, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Patterns of all that can come into a stream: by its subjects, and by what it follows among the others."""
    yield from config.subjects
    change = config.subject_transform
    if change is not None and change.dest:
        yield made_of(change.src, change.dest)
    origins = config.sources if config.mirror is None else [config.mirror]
    for origin in origins:
        yield from _followed(origin, others, (*seen, config.name))


def _followed(origin: StreamSource, others: Others, seen: tuple[str, ...]) -> Iterator[str]:
    """Patterns of what comes from another stream, under the subjects that it is stored under here."""
    known = others(origin.name) if origin.external is None and origin.name not in seen else None
    there = [REST] if known is None else list(subjects_of(known, others, seen))
    for one in origin.subject_transforms:
        yield made_of(one.src, one.dest) if one.dest else one.src or REST
    if not origin.subject_transforms:
        for subject in there:
            both = intersection(subject, origin.filter_subject or REST)
            if both is not None:
                yield both


def patterns_of(origin: StreamSource) -> Sequence[str]:
    """What is read of another stream; nothing stands for all."""
    if origin.subject_transforms:
        return [one.src or REST for one in origin.subject_transforms]
    return [origin.filter_subject] if origin.filter_subject else []


def made_of(source: str, destination: str) -> str:
    """A pattern of all that a transform makes; everything for one that is none."""
    try:
        change = SubjectTransform.parse(source or REST, destination)
    except InvalidTransformError:
        return REST
    if any(str(step[0]).startswith(_OF_ANY_LENGTH) for step in change.program):
        return REST
    return change.pattern
