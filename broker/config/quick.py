"""Reads configuration texts in one pass of regular expressions, several times as fast as the grammar.

It knows the constructs that configurations are made of. Where it meets anything else, a mistake above all, it gives up,
and :mod:`broker.config.syntax` reads the text from its beginning: the grammar decides what the language is, and this
reader has to agree with it about every text that it takes.

Large configurations say the same many times: a thousand tenants import the same ten services. A map in an array that is
written like an earlier one of the same text is recognised by its characters and not taken apart again.
"""

from __future__ import annotations

import re
from typing import Final

from broker.config.nodes import (
    ArrayNode,
    ElementNode,
    IncludeNode,
    MapNode,
    Node,
    PairNode,
    RepeatNode,
    ScalarNode,
    Source,
)
from broker.config.tree import Likeness

MAX_DEPTH: Final = 100
"""Maps and arrays inside one another that are read here."""

_SPACE: Final = r"[^\S\r\n]*+"
_COMMENT: Final = r"(?:\#|//)[^\r\n]*+"
_BLANK: Final = rf"(?:\s++|{_COMMENT})*+"
_REST_OF_LINE: Final = rf"(?:[^\S\r\n]++|{_COMMENT})*+"

# The terminals of the grammar by their names, in the order in which its lexer tries them. The words at the end may not
# be what the grammar takes for a mistaken number or date.
_STRINGS: Final = r'(?P<DOUBLE_QUOTED>"(?:[^"\\]++|\\[\s\S])*+")|(?P<SINGLE_QUOTED>\'[^\']*+\')'
_NUMBERS: Final = (
    r"(?P<DATETIME>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"
    r"|(?P<INTEGER>-?[0-9]++(?i:[kmgtpe](?:i?b|i)?)?(?=[ \t\r\n,;}\]]|\Z))"
    r"|(?P<ADDRESS>[0-9]++\.[0-9]++\.[0-9.:-]*+)"
    r"|(?P<FLOAT>-?[0-9]++\.[0-9]++)"
)
_BARE: Final = r"(?![-.]|[0-9]++-)(?![\s\"'\[{(,;}\]])(?:[^\\ \t\r\n,;}\]']++|\\[^\r\n])++\\?"
_SCALAR: Final = rf"(?>{_STRINGS}|{_NUMBERS}|(?P<WORD>{_BARE}))"
_ELEMENT: Final = rf"(?>{_STRINGS}|{_NUMBERS}|(?P<ELEMENT>{_BARE}))"

# What has to stand between two statements, or two elements, and where it may be missing.
_STATEMENT_END: Final = rf"{_REST_OF_LINE}(?:[\r\n,;]{_BLANK}|(?=\}})|\Z)"
_ELEMENT_END: Final = rf"{_REST_OF_LINE}(?:[\r\n,]{_BLANK}|(?=\]))"
_KEY: Final = r"(?:(?!(?i:include)\s)([^\s=:,;{}\"'\#][^\s=:]*+)|\"([^\"]*+)\"|'([^']*+)')"
_OPEN: Final = rf"(?:(?P<MAP>\{{)|(?P<ARRAY>\[)){_BLANK}"


_BLANKS: Final = re.compile(_BLANK)
_TOP_STATEMENT: Final = re.compile(rf"{_KEY}{_SPACE}[=:]?+{_SPACE}(?:{_SCALAR}{_STATEMENT_END}|{_OPEN})")
# Inside a map the value may begin on a later line than its separator.
_MAP_STATEMENT: Final = re.compile(rf"{_KEY}{_SPACE}(?:[=:]\s*+)?+(?:{_SCALAR}{_STATEMENT_END}|{_OPEN})")
_INCLUDE: Final = re.compile(
    rf"(?i:include)(?=\s){_SPACE}(?:([^\s;}}'\"\[({{][^\s;}}'\"]*+)|\"([^\"]*+)\"|'([^']*+)'){_STATEMENT_END}"
)
_NEXT_ELEMENT: Final = re.compile(rf"{_ELEMENT}{_ELEMENT_END}|{_OPEN}")
# Most arrays that are values of a key are lists of plain strings; these are read at once, with the statement's end.
_TEXTS: Final = re.compile(rf"(\"[^\"\\]*+\"(?:{_SPACE},\s*+\"[^\"\\]*+\")*+)\s*+\]{_STATEMENT_END}")
_TEXT: Final = re.compile(r"\"[^\"]*+\"")
_AFTER_STATEMENT: Final = re.compile(_STATEMENT_END)
_AFTER_ELEMENT: Final = re.compile(_ELEMENT_END)

# An element that is a map, perhaps with maps in it, by the braces. Where it ends is for its statements to say, so this
# may leave out whatever is seldom; it must leave out variables, which mean something else at each place.
_PLAIN: Final = r"[^][{}\"'\#$\\/]++|\"[^\"\\]*+\"|'[^']*+'"
_WHOLE_MAP: Final = re.compile(rf"(\{{(?:{_PLAIN}|\{{(?:{_PLAIN})*+\}})*+\}}){_ELEMENT_END}")
_VARIABLE: Final = re.compile(rf"{_SPACE}{_SCALAR}{_STATEMENT_END}\Z")


def read_document(source: Source) -> MapNode | None:
    """The syntax of a whole file, or None where the grammar has to read it."""
    text = source.text
    document = MapNode([], 0)
    known: dict[str, Likeness] = {}
    start = _end(_BLANKS, text, 0)
    if text.startswith("{", start):
        end = _fill(text, document, _end(_BLANKS, text, start + 1), _MAP_STATEMENT, known)
        is_whole = 0 <= end < len(text) and _end(_BLANKS, text, end + 1) == len(text)
    else:
        is_whole = _fill(text, document, start, _TOP_STATEMENT, known) == len(text)
    while known:
        # As with trees, freeing much at once holds up other threads.
        known.popitem()
    if is_whole:
        return document
    _discard(document)
    return None


def read_map(source: Source, offset: int) -> MapNode:
    """The syntax of a map that has been met as a :class:`~broker.config.nodes.RepeatNode` with this offset."""
    node = MapNode([], offset)
    _fill(source.text, node, _end(_BLANKS, source.text, offset), _MAP_STATEMENT, {})
    return node


def read_variable(source: Source) -> ScalarNode | None:
    """The value of a variable of the environment, or None where the grammar has to read it."""
    match = _VARIABLE.match(source.text)
    value = None if match is None else _value(match)
    return value if isinstance(value, ScalarNode) else None


def _fill(
    text: str, document: MapNode, position: int, first: re.Pattern[str], known: dict[str, Likeness]
) -> int:
    """Reads the statements of a map, the first of which begins at ``position``, with all that is in them.

    ``known`` are the maps that may stand again, by their characters.

    Returns where the brace stands that closes it, or the length of the text where none does; -1 where the grammar has
    to read the text.
    """
    around: list[MapNode | ArrayNode] = []
    here: MapNode | ArrayNode = document
    statement, end = first, len(text)
    # The map in an array that is being read, where it should end, and its characters.
    whole: tuple[MapNode | ArrayNode | None, int, str] = (None, 0, "")
    while 0 <= position < end:
        if isinstance(here, MapNode):
            if text[position] != "}":
                match = statement.match(text, position)
                if match is None:
                    position = _include(text, here, position)
                    continue
                # A bare key, one in double quotes, or one in single quotes.
                key, group = match[1], 1
                if key is None:
                    group = 2 if match[2] is not None else 3
                    key = match[group]
                inner = _value(match)
                here.statements.append(PairNode(key, inner, match.start(group)))
                position = match.end()
                if isinstance(inner, ScalarNode):
                    continue
                if isinstance(inner, ArrayNode) and (texts := _TEXTS.match(text, position)) is not None:
                    inner.elements = _texts(text, position, texts.end(1))
                    position = texts.end()
                    continue
                around.append(here)
                here, statement = inner, _MAP_STATEMENT
                continue
        elif text[position] != "]":
            alike = _WHOLE_MAP.match(text, position)
            likeness = None if alike is None else known.get(alike[1])
            if alike is not None and likeness is not None:
                here.elements.append(RepeatNode(likeness, position + 1))
                position = alike.end()
                continue
            match = _NEXT_ELEMENT.match(text, position)
            if match is None:
                return -1
            inner = _value(match)
            here.elements.append(inner)
            position = match.end()
            if not isinstance(inner, ScalarNode):
                around.append(here)
                here, statement = inner, _MAP_STATEMENT
            if alike is not None:
                whole = here, alike.end(1), alike[1]
            continue
        if not around:
            return position
        if len(around) > MAX_DEPTH:
            return -1
        if here is whole[0] and isinstance(here, MapNode) and position + 1 == whole[1] and _is_sealed(here):
            known[whole[2]] = here.likeness = Likeness()
        here = around.pop()
        position = _end(_AFTER_STATEMENT if isinstance(here, MapNode) else _AFTER_ELEMENT, text, position + 1)
        statement = _MAP_STATEMENT if around else first
    return -1 if around else position


def _is_sealed(node: MapNode) -> bool:
    """Whether a map says the same wherever it stands: it includes no file."""
    return all(
        isinstance(statement, PairNode) and (not isinstance(statement.value, MapNode) or _is_sealed(statement.value))
        for statement in node.statements
    )


def _discard(node: Node) -> None:
    """Takes a tree apart, because freeing much at once holds up other threads."""
    nodes: list[ElementNode] = [node]
    while nodes:
        one = nodes.pop()
        if isinstance(one, MapNode):
            nodes += [statement.value for statement in one.statements if isinstance(statement, PairNode)]
            one.statements.clear()
        elif isinstance(one, ArrayNode):
            nodes += one.elements
            one.elements.clear()


def _include(text: str, here: MapNode, position: int) -> int:
    match = _INCLUDE.match(text, position)
    if match is None:
        return -1
    group = match.lastindex or 1
    here.statements.append(IncludeNode(match[group], match.start(group) - (group > 1)))
    return match.end()


def _value(match: re.Match[str]) -> Node:
    kind, group = match.lastgroup or "", match.lastindex or 0
    if kind == "MAP":
        return MapNode([], match.start(group) + 1)
    if kind == "ARRAY":
        return ArrayNode([], match.start(group) + 1)
    return ScalarNode(kind, match[group], match.start(group))


def _texts(text: str, start: int, end: int) -> list[ElementNode]:
    return [ScalarNode("DOUBLE_QUOTED", one[0], one.start()) for one in _TEXT.finditer(text, start, end)]


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return -1 if match is None else match.end()
