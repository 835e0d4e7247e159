"""Subject transforms: from what a source pattern matches to the subject that a destination describes.

A destination is a subject whose tokens may be functions: ``$2`` or ``{{wildcard(2)}}`` is what the second ``*`` of the
source matched, a final ``>`` is what the final ``>`` of the source matched, and partition, split, slice and random work
as the NATS documentation on subject mapping describes them. A function is a whole token; everything else is text.

Nothing here has a side effect: where chance decides, the caller rolls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, TypeAlias

from accounts.subject import REST, SINGLE, intersection, is_valid, tokens

Choose: TypeAlias = Callable[[int], int]
"""Picks a number from 0 up to and without its argument, which is above 0."""

_REMEMBERED_PIECES: Final = 1024
"""Tokens that are text, of which most stand in many subjects."""

REMEMBERED: Final = 4096
"""Transforms of imports that are kept for whoever asks for an equal one."""
LARGEST_ARGUMENT: Final = (1 << 31) - 1
INVALID_SUBJECT: Final = "invalid subject"

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193
_DOLLAR: Final = re.compile(r"\$[+]?([0-9]{1,18})", re.ASCII)
_CALL: Final = re.compile(r"\{\{\s*([a-zA-Z]+)\s*\((.*)\)\s*\}\}", re.ASCII)
_POSITIVE: Final = re.compile(r"[+]?[0-9]{1,10}", re.ASCII)
_SIGNED: Final = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_BLANKS: Final = frozenset(" \t\n\f\r")

_BAD: Final = "invalid mapping destination"
_TOO_FEW: Final = f"{_BAD}: not enough arguments passed to the function"
_TOO_MANY: Final = f"{_BAD}: too many arguments passed to the function"
_WRONG_ARGUMENT: Final = f"{_BAD}: function argument is invalid or in the wrong format"
_UNKNOWN: Final = f"{_BAD}: unknown function"
_OUT_OF_RANGE: Final = f"{_BAD}: wildcard index out of range"
_INVALID: Final = f"{_BAD}: invalid transform"
_ONLY_WILDCARDS: Final = f"{_BAD}: the only mapping function allowed for import transforms is {{{{Wildcard()}}}}"
_NOT_ALL: Final = f"{_BAD}: not using all of the token wildcard(s)"


class InvalidTransformError(ValueError):
    """A source or destination that no transform can be made of. The texts are those of nats-server."""


@dataclass(frozen=True, slots=True)
class _Match:
    """The tokens of a subject that the source matched."""

    given: tuple[str, ...]
    places: tuple[int, ...]
    """Where in ``given`` each ``*`` of the source stands; the first entry stands for position 0 and is the subject's
    first token, whatever the source has there."""
    rest: int
    """Where in ``given`` begins what ``>`` matched."""

    def wildcard(self, position: int) -> str:
        return self.given[self.places[position]]


_Render: TypeAlias = Callable[[_Match, Choose], str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One token of a destination: how it is written, the wildcards it reads, and what it becomes."""

    text: str
    render: _Render
    positions: tuple[int, ...] = ()
    is_call: bool = False
    """Whether it is a function other than the plain wildcard."""
    operation: tuple[object, ...] = ()
    """What it does, in the terms of :attr:`SubjectTransform.program`, but with positions of wildcards."""


@dataclass(frozen=True, slots=True)
class SubjectTransform:
    """Rewrites the subjects that ``source`` matches. Build it with :meth:`parse` or :meth:`for_import`."""

    source: str
    destination: str
    _pieces: tuple[_Piece, ...] = field(repr=False, compare=False)
    _places: tuple[int, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, source: str, destination: str) -> SubjectTransform:
        """A transform for mappings, in which the destination may use every function and leave wildcards out.

        Raises InvalidTransformError.
        """
        if not is_valid(source):
            raise InvalidTransformError(INVALID_SUBJECT)
        places = _places(source)
        pieces = _pieces(destination)
        ends = [piece.text == REST for piece in pieces]
        if (tokens(source)[-1] == REST) != ends[-1] or any(piece.text == SINGLE for piece in pieces):
            raise InvalidTransformError(INVALID_SUBJECT)
        for piece in pieces:
            for position in piece.positions:
                if position >= len(places) or len(places) == 1:
                    which = f": [{position}]" if len(places) > 1 else ""
                    raise InvalidTransformError(f"{_OUT_OF_RANGE} in {piece.text}{which}")
        return cls(source, destination, pieces, places)

    @classmethod
    def for_import(cls, source: str, destination: str) -> SubjectTransform:
        """A transform for imports, which can be turned round: it uses every wildcard, and no other function.

        A destination with ``*`` keeps the wildcards in their order. Equal ones are made once, as long as they are
        remembered: many accounts import alike.

        Raises InvalidTransformError.
        """
        return _for_import(source, destination)

    @classmethod
    def _made_for_import(cls, source: str, destination: str) -> SubjectTransform:
        numbered = _numbered(destination)
        transform = cls.parse(source, numbered)
        for piece in transform._pieces:
            if piece.is_call:
                raise InvalidTransformError(f"{_ONLY_WILDCARDS} in {piece.text}")
        used = {position for piece in transform._pieces for position in piece.positions}
        if not used.issuperset(range(1, len(transform._places))):
            raise InvalidTransformError(f"{_NOT_ALL} in {numbered}")
        return transform

    @property
    def pattern(self) -> str:
        """What every result matches where results have one token for each of the destination: ``x.$2`` is ``x.*``."""
        return ".".join(SINGLE if piece.positions or piece.is_call else piece.text for piece in self._pieces)

    @property
    def program(self) -> tuple[tuple[object, ...], ...]:
        """The same transform as steps for whoever executes it on bytes, one for each token of the destination.

        ``("text", bytes)`` is that text, ``("token", place)`` a token of the subject, counted from 0, ``("rest",
        place)`` all tokens from one on. The other steps are named after their functions and hold their arguments, with
        places for positions; a partition of the whole subject has None in the place of places.
        """
        return tuple(self._step(piece) for piece in self._pieces)

    def _step(self, piece: _Piece) -> tuple[object, ...]:
        name, *arguments = piece.operation
        if name == "rest":
            return name, len(tokens(self.source)) - 1
        if name == "partition":
            count, positions = arguments
            return name, count, tuple(self._places[one] for one in piece.positions) if positions else None
        if piece.positions:
            return name, self._places[piece.positions[0]], *arguments
        return tuple(piece.operation)

    def preimage(self, pattern: str) -> str | None:
        """The pattern of those subjects that a transform made for an import takes into ``pattern``.

        None where there are none. The source must match what is transformed; a wildcard that stands twice in the
        destination has one value.
        """
        inside = intersection(self.pattern, pattern)
        if inside is None:
            return None
        found, given = tokens(self.source), tokens(inside)
        for place, piece in enumerate(self._pieces):
            if piece.text == REST and not piece.positions:
                found[-1:] = given[place:]
            for position in piece.positions:
                at = self._places[position]
                both = intersection(found[at], given[place])
                if both is None:
                    return None
                found[at] = both
        return ".".join(found)

    def inverse(self) -> SubjectTransform:
        """The transform back, of one made for an import in which no wildcard stands twice.

        Raises InvalidTransformError where one does.
        """
        return _inverse(self)

    def _made_inverse(self) -> SubjectTransform:
        used = [piece.positions[0] for piece in self._pieces if piece.positions]
        if 0 in used or len(used) != len(set(used)):
            raise InvalidTransformError(f"{_BAD}: a wildcard stands twice in {self.destination}")
        numbers = iter(used.index(position) + 1 for position in range(1, len(used) + 1))
        pieces = []
        for token in tokens(self.source):
            if token == SINGLE:
                position = next(numbers)
                pieces.append(_wildcard_piece(f"${position}", position))
            else:
                # Text of the source stays text, even where it looks like a function.
                pieces.append(_rest_piece() if token == REST else _literal_piece(token))
        pattern = self.pattern
        return SubjectTransform(pattern, ".".join(piece.text for piece in pieces), tuple(pieces), _places(pattern))

    def apply(self, subject: str, choose: Choose) -> str | None:
        """The subject it becomes, or None where the source does not match.

        A split can leave an empty token; such a result is no valid subject, and nobody can receive it.
        """
        parts = self.parts(subject, choose)
        return None if parts is None else ".".join(parts)

    def parts(self, subject: str, choose: Choose) -> tuple[str, ...] | None:
        """What each token of the destination becomes, which may be several; None where the source does not match."""
        place = matched_until(self.source, subject)
        if place is None:
            return None
        matched = _Match(tuple(tokens(subject)), self._places, place)
        return tuple(piece.render(matched, choose) for piece in self._pieces)


@lru_cache(REMEMBERED)
def _for_import(source: str, destination: str) -> SubjectTransform:
    return SubjectTransform._made_for_import(source, destination)


@lru_cache(REMEMBERED)
def _inverse(transform: SubjectTransform) -> SubjectTransform:
    return transform._made_inverse()


def matched_until(source: str, subject: str) -> int | None:
    """Where in a published subject begins what the source's ``>`` matches, or its end where the source has none.

    None when the source does not match. A wildcard in the subject counts as a plain token, but only ``>`` matches a
    final ``>``.
    """
    wanted, given = tokens(source), tokens(subject)
    if "" in given:
        return None
    for place, token in enumerate(wanted):
        if token == REST and place == len(wanted) - 1:
            return place if len(given) > place else None
        if place >= len(given) or (given[place] == REST and place == len(given) - 1):
            return None
        if token not in (SINGLE, given[place]):
            return None
    return len(wanted) if len(given) == len(wanted) else None


def _pieces(destination: str) -> tuple[_Piece, ...]:
    parts = tokens(destination)
    for place, part in enumerate(parts):
        after_rest = place > 0 and parts[place - 1] == REST
        is_function = part.startswith("{{") and part.endswith("}}")
        if not part or after_rest or (not is_function and not _BLANKS.isdisjoint(part)):
            where = f" in {part}" if part and after_rest else ""
            raise InvalidTransformError(_INVALID + where)
    return tuple(map(_piece, parts))


@lru_cache(maxsize=4096)
def _piece(text: str) -> _Piece:
    """One token of a destination; the tokens of many accounts are much the same."""
    if text == REST:
        return _rest_piece()
    if dollar := _DOLLAR.fullmatch(text):
        return _wildcard_piece(text, int(dollar[1]))
    if len(text) > 4 and text.startswith("{{") and text.endswith("}}"):
        call = _CALL.fullmatch(text)
        for name, build in _FUNCTIONS.items():
            if call is not None and _is_name(call[1], name):
                return build(text, [argument.strip() for argument in call[2].split(",")])
        raise InvalidTransformError(f"{_UNKNOWN} in {text}")
    return _literal_piece(text)


def _rest_piece() -> _Piece:
    return _Piece(REST, lambda matched, choose: ".".join(matched.given[matched.rest :]), operation=("rest",))


@lru_cache(_REMEMBERED_PIECES)
def _literal_piece(text: str) -> _Piece:
    return _Piece(text, lambda matched, choose: text, operation=("text", _bytes(text)))


def _places(source: str) -> tuple[int, ...]:
    """Where each ``*`` stands, after the place of position 0."""
    return (0, *(place for place, token in enumerate(tokens(source)) if token == SINGLE))


def _is_name(written: str, words: str) -> bool:
    """Whether a function is named: each of its words in lower case, or with a capital."""
    pattern = "".join(f"[{word[0]}{word[0].upper()}]{word[1:]}" for word in words.split())
    return re.fullmatch(pattern, written) is not None


def _numbered(destination: str) -> str:
    """The destination with each ``*`` as the wildcard of its place."""
    numbers = iter(range(1, destination.count(SINGLE) + 1))
    return ".".join(f"${next(numbers)}" if token == SINGLE else token for token in tokens(destination))


# The functions: each takes the text of its token and its arguments, of which there is at least one.


def _number(text: str, argument: str, form: re.Pattern[str] = _POSITIVE) -> int:
    if not form.fullmatch(argument) or abs(int(argument)) > LARGEST_ARGUMENT:
        raise InvalidTransformError(f"{_WRONG_ARGUMENT} in {text}")
    return int(argument)


def _expect(text: str, arguments: Sequence[str], count: int) -> None:
    if len(arguments) < count:
        raise InvalidTransformError(f"{_TOO_FEW} in {text}")
    if len(arguments) > count:
        raise InvalidTransformError(f"{_TOO_MANY} in {text}")


def _wildcard_piece(text: str, position: int) -> _Piece:
    return _Piece(text, lambda matched, choose: matched.wildcard(position), (position,), operation=("token",))


def _wildcard(text: str, arguments: Sequence[str]) -> _Piece:
    if arguments == [""]:
        raise InvalidTransformError(f"{_TOO_FEW} in {text}")
    _expect(text, arguments, 1)
    return _wildcard_piece(text, _number(text, arguments[0]))


def _partition(text: str, arguments: Sequence[str]) -> _Piece:
    """The number of the partition, by the FNV-1a hash of the chosen tokens, or of the whole subject with its dots."""
    count, *positions = (_number(text, argument) for argument in arguments)

    def render(matched: _Match, choose: Choose) -> str:
        parts = map(matched.wildcard, positions) if positions else (".".join(matched.given),)
        return str(_fnv("".join(parts)) % count if count else 0)

    return _Piece(text, render, tuple(positions), is_call=True, operation=("partition", count, bool(positions)))


def _fnv(text: str) -> int:
    value = _FNV_OFFSET
    for byte in _bytes(text):
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value


def _random(text: str, arguments: Sequence[str]) -> _Piece:
    if len(arguments) > 1:
        raise InvalidTransformError(f"{_TOO_MANY} in {text}")
    count = _number(text, arguments[0])

    def render(matched: _Match, choose: Choose) -> str:
        return str(choose(count) if count else 0)

    return _Piece(text, render, is_call=True, operation=("random", count))


def _split(text: str, arguments: Sequence[str]) -> _Piece:
    """The token taken apart at a separator; what stands between two separators is left out where it is empty."""
    _expect(text, arguments, 2)
    position, separator = _number(text, arguments[0]), arguments[1]

    def render(matched: _Match, choose: Choose) -> str:
        token = matched.wildcard(position)
        parts = token.split(separator) if separator else list(token)
        return ".".join(part for part in parts if part)

    return _Piece(text, render, (position,), is_call=True, operation=("split", _bytes(separator)))


def _cut(name: str, text: str, arguments: Sequence[str], cut: Callable[[bytes, int], list[bytes]]) -> _Piece:
    """A function that takes a token apart at numbers of bytes; a number out of range leaves it as it is."""
    _expect(text, arguments, 2)
    position, size = _number(text, arguments[0]), _number(text, arguments[1], _SIGNED)

    def render(matched: _Match, choose: Choose) -> str:
        token = _bytes(matched.wildcard(position))
        parts = cut(token, size) if 0 < size < len(token) else [token]
        return ".".join(part.decode("utf-8", "surrogateescape") for part in parts)

    return _Piece(text, render, (position,), is_call=True, operation=(name, size))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _split_left(token: bytes, size: int) -> list[bytes]:
    return [token[:size], token[size:]]


def _split_right(token: bytes, size: int) -> list[bytes]:
    return [token[:-size], token[-size:]]


def _slice_left(token: bytes, size: int) -> list[bytes]:
    return [token[start : start + size] for start in range(0, len(token), size)]


def _slice_right(token: bytes, size: int) -> list[bytes]:
    first = len(token) % size
    return [token[:first], *_slice_left(token[first:], size)] if first else _slice_left(token, size)


_FUNCTIONS: Final[Mapping[str, Callable[[str, Sequence[str]], _Piece]]] = {
    "wildcard": _wildcard,
    "partition": _partition,
    "random": _random,
    "split": _split,
    "split from left": partial(_cut, "split from left", cut=_split_left),
    "split from right": partial(_cut, "split from right", cut=_split_right),
    "slice from left": partial(_cut, "slice from left", cut=_slice_left),
    "slice from right": partial(_cut, "slice from right", cut=_slice_right),
}
"""The functions of a destination, with their names in words."""
