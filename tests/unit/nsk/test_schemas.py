"""Every command has a schema for its JSON, the documented ones are these, and what is printed is as they say.

The commands that ask servers are run in tests/integration, where each document is held to its schema likewise.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.schema import problems
from tests.unit.nsk.tool import Tool, schema_of, tool_at
from tools.nsk.document import schema
from tools.nsk.schemas import command_of, commands, files

DIRECTORY = Path(__file__).resolve().parents[3] / "docs" / "nsk" / "schemas"
COMMANDS = dict(commands())
SERVED = {
    *("apply", "leaked", "plan", "pull", "push", "update"),
    *(f"rotate {verb}" for verb in ("account", "data-key", "retire", "signing-key", "user")),
    *("pub", "reply", "req", "rtt", "sub", *(f"tool {verb}" for verb in ("pub", "reply", "req", "rtt", "sub"))),
    *(line for line in COMMANDS if line.startswith(("tool consumer", "tool kv", "tool object", "tool stream"))),
}
"""What does nothing without a server. Here its refusals are looked at."""
SESSION = """\
add account A
add account B
add account C
list accounts
select account A
select operator O
edit operator --tag x --sk generate --service-url nats://127.0.0.1:1
edit account A --conns 5 --js-disk-storage 1G --tag x --allow-pub a.> --trace-context-subject t --sk generate
add user u --allow-pub a.> --allow-pub-response --source-network 10.0.0.0/8 --expiry 1d
add user v --private-inbox
add users --count 2 --prefix many
edit user u --tag y --bearer --time 08:00:00-09:00:00
edit signing-key --sk generate --role worker --allow-pub w.>
add user w -K worker
add export --subject news.> --private
add export --subject ask --service --latency lag --sampling 10
edit export --subject news.> --description paper
add mapping --from a --to b --weight 50
delete mapping --from a
edit authcallout --auth-user {v} --allowed-account *
generate activation --account A --subject news.> --target-account B -o act.jwt
add import --account B --token act.jwt
add import --account B --src-account {A} --remote-subject ask --service
delete import --account B --subject ask
revocations add_activation --account A --subject news.> --target-account C
revocations list_activations --account A --subject news.>
revocations delete_activation --account A --subject news.> --target-account C
revocations add-user --account A --name u
revocations list-users --account A
revocations delete-user --account A --name u
can-i publish a.b --account A --user v
explain publish a.b --account A --user v
prove isolated A C
prove matrix
describe operator
describe account A
describe user --account A u
describe jwt -f act.jwt
list operators
list users --account A
list keys -A
list keys -A -S
expirations
validate -A
doctor
env
env -a A
export keys --all --include-jwts --dir backup
generate config --mem-resolver
generate context --account A --user v --context c
generate creds --account A --name v
generate diagram component
generate diagram object
generate nkey --user --curve
test nkey --account
generate profile nsc://O/A/v
delete user --account A v --rm-nkey
restore --dir backup
import keys --dir backup
fix --in backup --out fixed
test doc pages
test flags
test whoflag expiry
help add user
completion bash
completion zsh
completion fish
completion powershell
rename account C D --OK
pki init --intermediate
pki server
pki client app --email a@b.test
pki renew app
pki revoke app
pki crl
pki list
pki describe app
reissue operator
rotate operator --by-hand
rotate status --by-hand
rotate continue --by-hand
delete export --account A --subject ask
delete account D --force
upgrade-jwt --OK
keys migrate
init --name N
"""
REFUSED = """\
migrate --operator-dir nowhere
import account --file nowhere
import user --file nowhere
load --profile nonsense
add operator O
audit query nowhere
audit tail nowhere
audit verify nowhere
audit receipt nowhere
shred A
"""


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tool_at(tmp_path, capsys, monkeypatch)


def test_the_documented_schemas_are_those_of_the_commands() -> None:
    found = {path.name: path.read_text() for path in DIRECTORY.iterdir()}
    assert found == files(), "python -m tools.nsk.schemas docs/nsk/schemas"


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_says_what_it_returns(line: str) -> None:
    assert COMMANDS[line].result is not None


def test_what_is_printed_is_as_the_schemas_say(tool: Tool) -> None:
    """``Tool`` holds each document to its schema."""
    seen = set()
    for line in SESSION.splitlines():
        keys = {name: tool.claims("account", name)["sub"] for name in ("A", "B") if "{" in line}
        keys |= {name: tool.claims("user", "--account", "A", name)["sub"] for name in ("v",) if "{v}" in line}
        words = line.format(**keys).split()
        code = tool(*words, "--json")
        assert code in (0, 1), (line, tool.out)
        document = json.loads(tool.out)
        assert not isinstance(document, dict) or document.get("error") is None, (line, document["error"])
        seen.add(command_of(words)[0])
    refused = set()
    for line in REFUSED.splitlines():
        assert tool(*line.split(), "--json") != 0, line
        assert json.loads(tool.out)["error"]["text"], line
        refused.add(command_of(line.split())[0])
    assert seen | refused | SERVED == set(COMMANDS)


@pytest.mark.parametrize("line", sorted(SERVED))
def test_without_a_server_they_say_so_in_json(line: str, tool: Tool) -> None:
    assert tool(*line.split(), "--json") != 0
    assert json.loads(tool.out)["error"]["text"]


@pytest.mark.parametrize(
    "document",
    [
        {"ok": True, "report": [], "error": None},
        {"ok": 1, "report": [], "error": None, "result": None},
        {"ok": True, "report": [{"status": "fine", "text": "", "children": []}], "error": None, "result": None},
        {"ok": False, "report": [], "error": {"text": "x"}, "result": None},
        {"ok": True, "report": [], "error": None, "result": {"account": "A"}},
        {"ok": True, "report": [], "error": None, "result": None, "more": 1},
        [],
    ],
)
def test_other_documents_are_refused(document: object) -> None:
    assert problems(document, schema_of(["add", "user"]))


def test_what_has_no_json_form_has_no_schema() -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        schema("x", complex)
