"""Finds out where JSON stops being JSON, and says it in the words of Go's encoding/json.

Only what is wrong already comes here; what is right is read by msgspec.
"""

from __future__ import annotations

from typing import Final

from broker.wire.values import readable

_SPACE: Final = frozenset(b" \t\r\n")
_DIGITS: Final = frozenset(b"0123456789")
_HEXADECIMAL: Final = frozenset(b"0123456789abcdefABCDEF")
_ESCAPES: Final = frozenset(b'bfnrt\\/"')
_CONTAINERS: Final = frozenset(b"{[")
_TO_CLOSING: Final = 2
"""From the opening to the closing bracket, in ASCII, of either kind."""
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
MAXIMUM_DEPTH: Final = 10_000
"""Containers inside each other, as many as Go takes."""


class JsonError(ValueError):
    """What is no JSON, or not the JSON that is asked for; the text is as nats-server words it."""


class TruncatedError(JsonError):
    """The value has no end."""

    def __init__(self) -> None:
        super().__init__("unexpected EOF")


class SyntaxProblemError(JsonError):
    """A character that may not stand where it stands; ``offset`` counts the bytes up to it, itself included."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(text)
        self.offset = offset


class Scanner:
    """Reads one value after the other."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.position = 0

    def at_end(self) -> bool:
        """Whether only white space is left; passes over it."""
        while self.position < len(self._text) and self._text[self.position] in _SPACE:
            self.position += 1
        return self.position == len(self._text)

    def value(self) -> None:
        """Passes over one value. Raises JsonError."""
        # Containers are kept in a list, since they may stand in each other deeper than calls may.
        containers: list[int] = []
        while self._begin(containers) or self._goes_on(containers):
            pass

    def _begin(self, containers: list[int]) -> bool:
        """Reads a scalar or the beginning of a container; whether a value in that container comes next."""
        character = self._next()
        if character == ord('"'):
            self._string()
        elif character in _LITERALS:
            self._literal(_LITERALS[character])
        elif character == ord("-") or character in _DIGITS:
            self._number(character)
        elif character in _CONTAINERS:
            if len(containers) >= MAXIMUM_DEPTH:
                raise SyntaxProblemError("exceeded max depth", self.position)
            if self._peek() == character + _TO_CLOSING:
                self.position += 1
                return False
            containers.append(character)
            if character == ord("{"):
                self._key()
            return True
        else:
            raise self._problem("looking for beginning of value")
        return False

    def _goes_on(self, containers: list[int]) -> bool:
        """Behind a value: closes what closes here; whether another value comes next."""
        while containers:
            container, character = containers[-1], self._next()
            if character == container + _TO_CLOSING:
                containers.pop()
            elif character == ord(","):
                if container == ord("{"):
                    self._key()
                return True
            else:
                is_array = container == ord("[")
                raise self._problem("after array element" if is_array else "after object key:value pair")
        return False

    def _key(self) -> None:
        if self._next() != ord('"'):
            raise self._problem("looking for beginning of object key string")
        self._string()
        if self._next() != ord(":"):
            raise self._problem("after object key")

    def _string(self) -> None:
        while True:
            character = self._take()
            if character == ord('"'):
                return
            if character < 0x20:
                raise self._problem("in string literal")
            if character != ord("\\"):
                continue
            escape = self._take()
            if escape == ord("u"):
                for _ in range(4):
                    if self._take() not in _HEXADECIMAL:
                        raise self._problem("in \\u hexadecimal character escape")
            elif escape not in _ESCAPES:
                raise self._problem("in string escape code")

    def _literal(self, word: bytes) -> None:
        for expected in word[1:]:
            if self._take() != expected:
                raise self._problem(f"in literal {word.decode()} (expecting {_shown(bytes([expected]))})")

    def _number(self, first: int) -> None:
        if first == ord("-"):
            first = self._take()
            if first not in _DIGITS:
                raise self._problem("in numeric literal")
        if first != ord("0"):
            self._digits()
        if self._is_at(b"."):
            self._some_digits("after decimal point in numeric literal")
        if self._is_at(b"eE"):
            self._is_at(b"+-")
            self._some_digits("in exponent of numeric literal")

    def _some_digits(self, place: str) -> None:
        if self._take() not in _DIGITS:
            raise self._problem(place)
        self._digits()

    def _digits(self) -> None:
        while self.position < len(self._text) and self._text[self.position] in _DIGITS:
            self.position += 1

    def _is_at(self, characters: bytes) -> bool:
        """Whether one of these comes next; passes over it."""
        found = self.position < len(self._text) and self._text[self.position] in characters
        self.position += found
        return found

    def _peek(self) -> int:
        if self.at_end():
            raise TruncatedError
        return self._text[self.position]

    def _next(self) -> int:
        self.at_end()
        return self._take()

    def _take(self) -> int:
        if self.position == len(self._text):
            raise TruncatedError
        self.position += 1
        return self._text[self.position - 1]

    def _problem(self, place: str) -> SyntaxProblemError:
        start = self.position - 1
        return SyntaxProblemError(f"invalid character {_shown(self._text[start : start + 1])} {place}", self.position)


def _shown(character: bytes) -> str:
    """One byte in single quotes, as Go shows it."""
    text = character.decode("latin-1")
    if text in "'\\":
        return f"'\\{text}'"
    if text == '"':
        return "'\"'"
    return f"'{text}'" if text.isprintable() else repr(readable(text))
