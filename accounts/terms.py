"""Sets of subjects as terms: tokens that are text or variables, and perhaps a rest of any length.

A variable stands for any one token, and for the same token wherever it stands; the rest stands for any number of
further tokens, none included. Patterns split such sets exactly, and transforms that move tokens about map them exactly:
so what can become of a message on its way through imports and mappings is a matter of substitution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from accounts.subject import REST, SINGLE, matches_as_tokens, tokens

Token: TypeAlias = str | int
"""Text, or the number of a variable."""


@dataclass(frozen=True, slots=True)
class Term:
    """A set of subjects. ``rest`` is the number of the variable for what follows, None where nothing does."""

    tokens: tuple[Token, ...]
    rest: int | None = None

    @classmethod
    def literal(cls, subject: str) -> Term:
        """The set of one subject."""
        return cls(tuple(tokens(subject)))

    @property
    def subject(self) -> str | None:
        """The only subject of the set; None where there are others."""
        parts = [token for token in self.tokens if isinstance(token, str)]
        return ".".join(parts) if self.rest is None and len(parts) == len(self.tokens) else None

    @property
    def variables(self) -> Iterator[int]:
        """The variables in the order in which they stand, without the rest."""
        return (token for token in self.tokens if isinstance(token, int))

    @property
    def pattern(self) -> str:
        """The narrowest pattern that contains the set."""
        parts = [token if isinstance(token, str) else SINGLE for token in self.tokens]
        # The rest may be empty, so that ``>`` takes the place of the token before it.
        return ".".join([*parts[:-1], REST] if self.rest is not None else parts)

    def bound(self, binding: Binding) -> Term:
        """The part of the set that is left when variables stand for what the binding says."""
        parts = tuple(binding.token(token) for token in self.tokens)
        if self.rest is None or self.rest != binding.rest:
            return Term(parts, self.rest)
        added = tuple(binding.token(token) for token in binding.added)
        return Term((*parts, *added), None if binding.ended else self.rest)

    def instance(self, choose: Callable[[int], str], rest: tuple[str, ...] = ()) -> str:
        """One subject of the set: what each variable is, and what the rest is where there is one."""
        parts = [token if isinstance(token, str) else choose(token) for token in self.tokens]
        return ".".join((*parts, *rest) if self.rest is not None else parts)


@dataclass(frozen=True, slots=True)
class Binding:
    """What variables stand for: ``tokens`` for some of them, and for the variable ``rest`` the tokens ``added``.

    After these the rest goes on, unless it has ``ended``.
    """

    tokens: Mapping[int, Token]
    rest: int | None = None
    added: tuple[Token, ...] = ()
    ended: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether every set stays what it is."""
        return not self.tokens and not self.added and not self.ended

    def token(self, token: Token) -> Token:
        """What a token stands for."""
        return self.tokens.get(token, token) if isinstance(token, int) else token


def match(term: Term, pattern: str, fresh: Callable[[], int]) -> Binding | None:
    """What variables must stand for so that the pattern matches; None where it matches no subject of the set.

    ``fresh`` makes numbers of new variables.
    """
    found: dict[int, Token] = {}
    given, added = list(term.tokens), []
    wanted = tokens(pattern)
    for place, text in enumerate(wanted):
        if place == len(given):
            if term.rest is None:
                return None
            variable = fresh()
            given.append(variable)
            added.append(variable)
        if text == REST and place == len(wanted) - 1:
            return Binding(found, term.rest, tuple(added))
        token = given[place]
        if isinstance(token, int):
            token = found.get(token, token)
        if text == SINGLE:
            continue
        if isinstance(token, int):
            found[token] = text
        elif token != text:
            return None
    if len(given) > len(wanted):
        return None
    return Binding(found, term.rest, tuple(added), ended=term.rest is not None)


Exclusion: TypeAlias = tuple[Term, str]
"""A set of subjects, in variables that are bound elsewhere, and a pattern that must not match what they become."""


def open_length(exclusions: tuple[Exclusion, ...]) -> int | None:
    """How many tokens a rest must have so that no exclusion matches all that the sets come to; None where all do.

    Variables are tried as tokens that stand nowhere else. Where a pattern matches those it matches everything of the
    same length, so the answer is exact.
    """
    longest = max((len(tokens(pattern)) for _, pattern in exclusions), default=0)
    has_rest = any(term.rest is not None for term, _ in exclusions)
    for length in range(longest + 2 if has_rest else 1):
        rest = tuple(f"\x00{place}" for place in range(length))
        if not any(matches_as_tokens(pattern, term.instance(str_of, rest)) for term, pattern in exclusions):
            return length
    return None


def str_of(variable: int) -> str:
    """A token that stands in no pattern."""
    return f"\x00\x00{variable}"
