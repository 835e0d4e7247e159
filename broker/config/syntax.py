"""From text to syntax: runs the grammar and says in words what it did not expect.

The nodes keep the tokens of the text; what they are worth (numbers, variables, included files) is decided in
:mod:`broker.config.language`. Nothing here recurses over the text, so its depth cannot exhaust the stack.
"""

from __future__ import annotations

from functools import cache
from operator import methodcaller
from typing import Literal, TypeAlias, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken

from broker.config.errors import ConfigError
from broker.config.nodes import ArrayNode, IncludeNode, MapNode, Node, PairNode, ScalarNode, Source

Start: TypeAlias = Literal["document", "environment"]


class _Builder(Transformer[Token, MapNode | Node]):
    """Makes nodes while the parser reads; method names are rules of the grammar."""

    def document(self, children: list[PairNode | IncludeNode | Token | MapNode]) -> MapNode:
        for child in children:
            if isinstance(child, MapNode):
                return child
        return MapNode([child for child in children if isinstance(child, PairNode | IncludeNode)], 0)

    def environment(self, children: list[Node]) -> Node:
        return children[0]

    def map_body(self, children: list[PairNode | IncludeNode]) -> MapNode:
        return MapNode(children, 0)

    def map(self, children: list[Token | MapNode]) -> MapNode:
        brace, body = cast("tuple[Token, MapNode]", children)
        body.offset = _offset(brace) + 1
        return body

    def array(self, children: list[Token | Node]) -> ArrayNode:
        bracket, *elements = cast("tuple[Token, *tuple[Node, ...]]", tuple(children))
        return ArrayNode([*elements], _offset(bracket) + 1)

    def pair(self, children: list[Token | Node]) -> PairNode:
        key, value = cast("tuple[Token, Node]", children)
        if key.type == "QUOTED_KEY":
            return PairNode(key[1:-1], value, _offset(key) + 1)
        return PairNode(str(key), value, _offset(key))

    def include(self, children: list[Token]) -> IncludeNode:
        path = children[1]
        return IncludeNode(path[1:-1] if path.type == "QUOTED_PATH" else str(path), _offset(path))

    def key(self, children: list[Token]) -> Token:
        return children[0]

    path = key

    def value(self, children: list[Token | Node]) -> Node:
        child = children[0]
        return ScalarNode(child.type, str(child), _offset(child)) if isinstance(child, Token) else child

    element = value


def _offset(token: Token) -> int:
    return token.start_pos or 0


@cache
def _parser() -> Lark:
    return Lark.open(
        "grammar.lark",
        rel_to=__file__,
        parser="lalr",
        lexer="contextual",
        start=["document", "environment"],
        maybe_placeholders=False,
        transformer=_Builder(),
    )


def parse(source: Source, start: Start) -> Node:
    """The syntax of a text.

    Raises:
        ConfigError: the text does not follow the grammar.
    """
    try:
        return cast("Node", _parser().parse(source.text, start=start))
    except UnexpectedInput as error:
        raise _explain(source, error) from None


def _explain(source: Source, error: UnexpectedInput) -> ConfigError:
    """Says what was found where something else had to stand, in the words that operators of nats-server know."""
    token = error.token if isinstance(error, UnexpectedToken) else None
    at_end = token is not None and token.type == "$END"
    offset = len(source.text) if at_end or error.pos_in_stream is None else error.pos_in_stream
    position = source.position(offset)
    expected: set[str] = methodcaller("accepts")(error.interactive_parser)  # Lark leaves this method untyped.
    stack = [item for item in error.interactive_parser.parser_state.value_stack if isinstance(item, Token)]
    if not at_end:
        message, remedy = _unexpected(source.text, offset, expected)
        # Braces may stand in a key, so one that touches the word before it opens no map.
        if any(token.type == "KEY" and token.endswith("{") for token in stack):
            remedy = "put a space before the { that opens a map"
        return ConfigError.at(position, f"Parse error on line {position.line}: '{message}'; {remedy}")
    opened = [token for token in stack if token.type in {"OPEN_MAP", "OPEN_ARRAY"}]
    if not opened:
        missing = "include has no path" if "PATH" in expected else "key has no value"
        return ConfigError.at(position, f"config is invalid ({position}): the last {missing}")
    kind, closing = ("map", "}") if opened[-1].type == "OPEN_MAP" else ("array", "]")
    return ConfigError.at(
        position,
        f"Parse error on line {position.line}: 'Unexpected EOF processing {kind}.'; "
        f"the {kind} that opens on line {source.position(_offset(opened[-1])).line} needs a closing {closing}",
    )


def _unexpected(text: str, offset: int, expected: set[str]) -> tuple[str, str]:
    """What is wrong with the character at ``offset``, and the remedy."""
    found = text[offset]
    shown = found if found.isprintable() else f"\\x{ord(found):02x}"
    newline = found in "\r\n"
    if found in "\"'" and not expected.isdisjoint({"SINGLE_QUOTED", "QUOTED_KEY", "QUOTED_PATH"}):
        return "Unexpected EOF.", "the string that begins here has no closing quote"
    if found == "(" and "BLOCK" in expected:
        return "Unexpected EOF processing block.", "end the block with a ) alone at the start of a line"
    if "PATH" in expected:
        what = "new line" if newline else f"'{shown}'"
        return f"Expected include value but found {what}", "write the path behind include, on the same line"
    if "ELEMENT" in expected:
        return f"Unexpected array value terminator '{shown}'.", "write an element before it, or remove it"
    if "WORD" in expected:
        if newline:
            return "Expected value but found new line", "write the value on the line of its key"
        return f"Expected value but found '{shown}'", "write a value, or quote an empty one"
    if "KEY" in expected:
        if found in "=:":
            return f"Unexpected key separator '{found}'", "write a key before it"
        return (
            f"Expected a key but got '{shown}'",
            "write one separator between entries, and quote odd keys",
        )
    if "RSQB" in expected:
        return (
            f'Expected an array value terminator "," or an array terminator "]", but got \'{shown}\' instead.',
            "separate the elements with a comma or a new line, and quote a string that contains such characters",
        )
    if "$END" not in expected:
        return (
            f'Expected a map value terminator "," or a map terminator "}}", but got \'{shown}\' instead.',
            "separate the entries with a comma, a semicolon or a new line",
        )
    if "COMMA" in expected:
        return (
            f"Expected a top-level value to end with a new line, comment or EOF, but got '{shown}' instead.",
            "begin a new line, or quote a value of several words",
        )
    return f"Expected the end of the file but got '{shown}'", "remove what follows the closing brace"
