"""The configuration language: what texts mean, and what is said about those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from broker.config.errors import ConfigError
from broker.config.language import MAX_DEPTH, parse_bytes, parse_file
from broker.config.tree import Table, Value, digest

CASES = yaml.safe_load((Path(__file__).parent / "language.yaml").read_text(encoding="utf-8"))
ENVIRONMENT = {
    "NATSKEEP_NUMBER": "1MB",
    "NATSKEEP_LIST": "[a,b]",
    "NATSKEEP_MAP": "{b: 1}",
    "NATSKEEP_CHAIN": "$NATSKEEP_NUMBER",
    "NATSKEEP_QUOTED": '"7"',
    "NATSKEEP_EMPTY": "",
}


def plain(value: Value | Table) -> object:
    content = value if isinstance(value, Table) else value.content
    if isinstance(content, Table):
        return {entry.key: plain(entry.value) for entry in content}
    return [plain(element) for element in content] if isinstance(content, list) else content


def parse(text: str, environment: dict[str, str] | None = None) -> object:
    return plain(parse_bytes(text.encode(), "t.conf", environment or {}))


def refusal(text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_bytes(text.encode(), "t.conf", environment or {})
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"]))
def test_a_text_means_what_nats_server_reads(case: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_bytes(case["text"].encode())
    (tmp_path / "t.conf").write_text("resolver {\ntype: mem\ninclude 'x.conf'\n}\n")
    assert digest(parse_file(str(tmp_path / "t.conf"), ENVIRONMENT)) == case["digest"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", {}),
        ("# only a comment", {}),
        ("{}", {}),
        ("}", {}),
        ("{ a: 1 }", {"a": 1}),
        ('\n{ "a": 1, "b": [1, {"c": true}] }\n', {"a": 1, "b": [1, {"c": True}]}),
        ("{ a: 1 } }\n", {"a": 1}),
        ("a: 1 }", {"a": 1}),
        ("a: 1\n}\n", {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ("x [1]", {"x": [1]}),
        ("x [[1],[2]]", {"x": [[1], [2]]}),
        ("x [10.0.0.1, 2]", {"x": ["10.0.0.1", 2]}),
        ("x [ 1 , 2 ]", {"x": [1, 2]}),
        ("a: [1]# c", {"a": [1]}),
        ("a: (\nx\n)", {"a": "\nx\n"}),
        ("a: 1 \u00a0", {"a": 1}),
        ("a:\u00a01", {"a": 1}),
    ],
)
def test_a_text_means(text: str, meaning: object) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "port: 1 port: 2",
            "t.conf:1:8: Parse error on line 1: 'Expected a top-level value to end with a new line, comment or EOF, "
            "but got 'p' instead.'; begin a new line, or quote a value of several words",
        ),
        (
            "x {\n a: 1 b: 2 }",
            't.conf:2:7: Parse error on line 2: \'Expected a map value terminator "," or a map terminator "}", '
            "but got 'b' instead.'; separate the entries with a comma, a semicolon or a new line",
        ),
        (
            "server_tags: [a b]",
            't.conf:1:16: Parse error on line 1: \'Expected an array value terminator "," or an array terminator '
            "\"]\", but got 'b' instead.'; separate the elements with a comma or a new line, "
            "and quote a string that contains such characters",
        ),
        (
            "x [,1]",
            "t.conf:1:3: Parse error on line 1: 'Unexpected array value terminator ','.'; "
            "write an element before it, or remove it",
        ),
        ("x [1,,2]", "t.conf:1:5: Parse error on line 1: 'Unexpected array value terminator ','."),
        ("x: [1;2]", "but got ';' instead."),
        ("a: x]", "but got ']' instead."),
        ("a: it's", "but got ''' instead."),
        ("a: 1.5MB", "but got 'M' instead."),
        (
            "tls{\n a: 1\n}\n",
            "t.conf:2:5: Parse error on line 2: 'Expected a top-level value to end with a new line, "
            "comment or EOF, but got '1' instead.'; put a space before the { that opens a map",
        ),
        (":1", "t.conf:1:0: Parse error on line 1: 'Unexpected key separator ':''; write a key before it"),
        ("x {=1}", "t.conf:1:3: Parse error on line 1: 'Unexpected key separator '=''"),
        ("a: 1,,b: 2", "t.conf:1:5: Parse error on line 1: 'Expected a key but got ','';"),
        ("a:\n1", "t.conf:1:2: Parse error on line 1: 'Expected value but found new line'"),
        ("a: , b: 1", "t.conf:1:3: Parse error on line 1: 'Expected value but found ','';"),
        ("x {a: }", "t.conf:1:6: Parse error on line 1: 'Expected value but found '}''; write a value, or quote"),
        ("a: \x01 b", "t.conf:1:5: Parse error"),
        ("a", "t.conf:1:1: config is invalid (t.conf:1:1): the last key has no value"),
        ("port:", "t.conf:1:5: config is invalid (t.conf:1:5): the last key has no value"),
        ("include ", "t.conf:1:8: config is invalid (t.conf:1:8): the last include has no path"),
        (
            "port: {\n",
            "t.conf:2:1: Parse error on line 2: 'Unexpected EOF processing map.'; "
            "the map that opens on line 1 needs a closing }",
        ),
        (
            "a: [\n[1]\n",
            "t.conf:3:1: Parse error on line 3: 'Unexpected EOF processing array.'; "
            "the array that opens on line 1 needs a closing ]",
        ),
        (
            'a: "x\n',
            "t.conf:1:3: Parse error on line 1: 'Unexpected EOF.'; the string that begins here has no closing quote",
        ),
        ("'a: 1", "t.conf:1:0: Parse error on line 1: 'Unexpected EOF.'"),
        (
            "a: (\nx\n )\n",
            "t.conf:1:3: Parse error on line 1: 'Unexpected EOF processing block.'; "
            "end the block with a ) alone at the start of a line",
        ),
        (
            'a: "b\\qc"',
            "t.conf:1:3: Parse error on line 1: 'Invalid escape character 'q'. Only the following escape characters "
            "are allowed: \\xXX, \\t, \\n, \\r, \\\", \\\\.'; write \\\\ for a backslash, or use single quotes",
        ),
        ("a: b\\", "Invalid escape character ' '."),
        ('a: "\\x4g"', "Expected two hexadecimal digits after '\\x'"),
        ('a: "\\xff"', "t.conf:1:3: the \\x escapes of this string do not make valid UTF-8"),
        ("a: 9223372036854775808", "t.conf:1:3: integer '…' is out of the range of 64 bits; quote it if"),
        ("a: 8ei", "is out of the range"),
        ("a: " + "9" * 10000, "is out of the range"),
        ("a: -x", "t.conf:1:3: Parse error on line 1: 'Expected a digit but got 'x'.'"),
        ("a: .5", "t.conf:1:3: Parse error on line 1: 'Floats must start with a digit'; quote a string"),
        ("a: 1234-abc", "All ISO8601 dates must be in full Zulu form."),
        ("a: 12-34", "All ISO8601 dates must be in full Zulu form."),
        ("a: 2006-13-02T15:04:05Z", "expected Zulu formatted DateTime, but got '2006-13-02T15:04:05Z'"),
        ("include\nf.conf", "t.conf:1:7: Parse error on line 1: 'Expected include value but found new line'"),
        ("{ a: 1 } b: 2", "t.conf:1:9: Parse error on line 1: 'Expected the end of the file but got 'b''"),
        ("a: \0", "t.conf:1:3: the text contains a NUL byte"),
        ("# é\nx\u2028: y z", "t.conf:2:9: Parse error on line 2"),
    ],
)
def test_a_syntax_error_names_its_place_and_the_remedy(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_that_is_not_utf8_is_refused_at_its_place(mark: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bytes(mark + b"a: 1\nb: \xe9\n", "t.conf")
    assert str(caught.value) == "t.conf:2:4: the text is not valid UTF-8 here; save the file as UTF-8"
    assert (caught.value.file, caught.value.line, caught.value.column) == ("t.conf", 2, 4)


def test_positions_of_keys_are_those_of_nats_server() -> None:
    table = parse_bytes('a: 1\n b: 2\ncluster { "é": 1, f: [ {g: 1} ] }'.encode(), "t.conf")
    assert str(table.entries["a"].position) == "t.conf:1:0"
    assert str(table.entries["b"].position) == "t.conf:2:2"
    cluster = table.entries["cluster"].value.content
    assert isinstance(cluster, Table)
    assert str(cluster.entries["é"].position) == "t.conf:3:12"
    assert str(cluster.entries["f"].position) == "t.conf:3:20"
    elements = cluster.entries["f"].value.content
    assert isinstance(elements, list)
    assert str(elements[0].position) == "t.conf:3:26"


class TestVariables:
    def test_names_are_looked_up_outwards_and_then_in_the_environment(self) -> None:
        text = "A: 1\nx { B: 2, y { a: $A, b: $B, c: $C } }"
        assert parse(text, {"A": "9", "C": "3"}) == {"A": 1, "x": {"B": 2, "y": {"a": 1, "b": 2, "c": 3}}}

    def test_a_referenced_key_is_marked_as_used(self) -> None:
        table = parse_bytes(b"A: 1\nB: 2\nx {A: 3, a: $A}", "t.conf")
        assert [entry.key for entry in table if entry.used] == []
        inner = table.entries["x"].value.content
        assert isinstance(inner, Table)
        assert inner.entries["A"].used

    @pytest.mark.parametrize(
        ("text", "environment", "message"),
        [
            (
                "port: $X\nX: 1",
                {},
                "t.conf:1:6: variable reference for 'X' on line 1 can not be found; define it before",
            ),
            ("a: $a", {}, "variable reference for 'a' on line 1 can not be found"),
            (
                "\na: $X",
                {"X": "$Y", "Y": "$X"},
                "t.conf:2:4: variable reference for 'X' on line 2 could not be parsed: ",
            ),
            ("a: $X", {"X": "$X"}, "variable reference cycle for 'X'"),
            ("a: $X", {"X": "a b"}, "could not be parsed: $X:1:2: Parse error on line 1"),
            ("a: $X", {"X": "a\nb: 1"}, "could not be parsed: $X:2:1: Parse error"),
            ("a: $X", {"X": "\udce9"}, "could not be parsed: it is not valid UTF-8"),
            ("a: $", {}, "variable reference for '…' on line 1 can not be found"),
        ],
    )
    def test_what_can_not_be_resolved_is_refused(self, text: str, environment: dict[str, str], message: str) -> None:
        assert message in refusal(text, environment)

    @pytest.mark.parametrize("password", ["2b$11$0123456789", "0penSesame", "pa$$w0rd", "p@ssw0rd"])
    def test_a_password_that_looks_like_a_variable_is_not_shown(self, password: str) -> None:
        message = refusal(f"password: ${password}")
        assert password not in message
        assert "quote a string that begins with $" in message

    def test_values_do_not_multiply_without_end(self) -> None:
        lines = ["a0: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        lines += [f"a{n}: [{', '.join([f'$a{n - 1}'] * 10)}]" for n in range(1, 9)]
        assert "amount to more than 1000000 values" in refusal("\n".join(lines))


class TestIncludes:
    def test_keys_are_merged_where_the_statement_stands(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "t.conf").write_text("a: 1\nx { a: 1, include sub/one.conf; c: $b }\ninclude '/sub/one.conf'")
        (tmp_path / "sub" / "one.conf").write_text("a: 2\nInclude two.conf # beside this file\n")
        (tmp_path / "sub" / "two.conf").write_text("b: 3\n")
        table = parse_file(str(tmp_path / "t.conf"))
        assert plain(table) == {"x": {"a": 2, "b": 3, "c": 3}, "a": 2, "b": 3}
        assert str(table.entries["b"].position) == f"{tmp_path}/sub/two.conf:1:0"

    def test_include_is_a_keyword_only_before_white_space(self) -> None:
        assert parse("include: 1\nx { include=2 }") == {"include": 1, "x": {"include": 2}}

    def test_a_file_does_not_see_the_variables_around_it(self, tmp_path: Path) -> None:
        (tmp_path / "t.conf").write_text("A: 1\ninclude i.conf\n")
        (tmp_path / "i.conf").write_text("a: $A\n")
        with pytest.raises(ConfigError, match=r"t\.conf:2:9: error parsing include file 'i\.conf', .*'A' on line 1"):
            parse_file(str(tmp_path / "t.conf"), {})

    def test_cycles_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "t.conf").write_text("x { include './i.conf' }\n")
        (tmp_path / "i.conf").write_text("y { include t.conf }\n")
        with pytest.raises(ConfigError, match="the file includes itself"):
            parse_file(str(tmp_path / "t.conf"))

    def test_a_file_may_be_included_twice(self, tmp_path: Path) -> None:
        (tmp_path / "t.conf").write_text("x { include i.conf }\ny { include i.conf }\n")
        (tmp_path / "i.conf").write_text("a: 1\n")
        assert plain(parse_file(str(tmp_path / "t.conf"))) == {"x": {"a": 1}, "y": {"a": 1}}

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("none.conf", "no such file or directory"), ("sub", "is a directory"), ("a" * 300, "file name too long")],
    )
    def test_a_missing_file_is_named(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "t.conf").write_text(f"include {name}\n")
        with pytest.raises(ConfigError) as caught:
            parse_file(str(tmp_path / "t.conf"))
        path = f"{tmp_path}/t.conf:1:8: error parsing include file '{name}', open {tmp_path}/{name}: {reason}"
        assert str(caught.value) == path


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_file("/nowhere/server.conf")
    assert str(caught.value) == "open /nowhere/server.conf: no such file or directory"
    assert caught.value.file is None


@pytest.mark.parametrize("text", ["a: " + "[" * 50_000 + "]" * 50_000, "x {" * 50_000 + "}" * 50_000])
def test_depth_is_limited(text: str) -> None:
    parse(f"a: {'[' * (MAX_DEPTH - 1)}{']' * (MAX_DEPTH - 1)}")
    assert f"more than {MAX_DEPTH} levels" in refusal(text)


def test_values_are_not_shown() -> None:
    table = parse_bytes(b"password: secret\nusers: [{password: secret}]", "t.conf")
    assert "secret" not in repr(table)
