"""The commands of ``nsk tool`` for streams, consumers and buckets, with natskeep, and nats-server where it is at hand.

What they write is read with the official client, and what that writes with them. ``Tool`` holds every document to its
schema.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, ObjectMeta
from nats.js.errors import KeyNotFoundError

from tests.support.ports import reserve_port
from tests.support.servers import ROOT, ServerProcess, Target, targets_at_hand
from tests.unit.nsk.tool import Tool
from tools.nsk.__main__ import main
from tools.nsk.streams.archive import new_directory, new_file

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Site:
    """A running server with JetStream, and the store whose account A may use it."""

    url: str
    home: Path
    creds: Path


@pytest.fixture(scope="module", params=targets_at_hand(), ids=lambda target: target.name)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    target: Target = request.param
    directory = tmp_path_factory.mktemp(target.name)
    url = f"nats://127.0.0.1:{reserve_port()}"
    home, configuration = directory / "h", directory / "operator.conf"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(directory))
        for words in (
            "add operator O --sys",
            f"edit operator --service-url {url}",
            "add account A",
            "edit account A --js-enable 0",
            "add user u",
            "add user reader --allow-sub nothing --allow-pub nothing",
            "add account B",
            "add user b",
            f"generate config --mem-resolver --config-file {configuration}",
        ):
            assert main(["-H", str(home), *words.split()]) == 0
    lines = (
        f'listen: "{url.removeprefix("nats://")}"',
        f'include "{configuration.name}"',
        f'jetstream {{ store_dir: "{directory}" }}',
    )
    (directory / "server.conf").write_text("\n".join(lines))
    with ServerProcess(target, ["-c", "server.conf"], directory, preforked=True) as server:
        assert server.wait_until_ready(), server.output
        yield Site(url, home, next(home.rglob("u.creds")))


@pytest.fixture
def tool(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tool]:
    """The tool on that store; the streams of the account are gone when a test ends."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NSK_REMEDIES", "always")
    # To read the system's authorities takes longer than all else that a command does.
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    monkeypatch.chdir(tmp_path)
    tool = Tool(site.home, capsys)
    yield tool
    for stream in _result(tool, "stream ls")["streams"]:
        tool.ok("tool", "stream", "rm", stream["name"], "--account", "A", "--user", "u", "--yes")


def _words(line: str) -> list[str]:
    return ["tool", *line.split(), "--account", "A", "--user", "u"]


def _result(tool: Tool, line: str, *more: str) -> Any:
    tool.ok(*_words(line), *more, "--json")
    return json.loads(tool.out)["result"]


def _refused(tool: Tool, line: str) -> str:
    return tool.refused(*_words(line))


@asynccontextmanager
async def official(site: Site) -> AsyncIterator[JetStreamContext]:
    """The official client."""
    client = await nats.connect(site.url, user_credentials=str(site.creds), allow_reconnect=False)
    try:
        yield client.jetstream(timeout=SECONDS)
    finally:
        await client.close()


def test_streams(tool: Tool) -> None:
    added = _result(
        tool, "stream add S --subjects a.>,b --max-msgs 5 --max-age 1h --storage memory --metadata team=x"
    )
    assert (added["config"]["max_msgs"], added["config"]["max_age"]) == (5, 3600 * 10**9)
    assert (added["config"]["storage"], added["config"]["metadata"]["team"]) == ("memory", "x")
    for number in range(7):
        tool.ok(*_words(f"pub a.{number % 2} m{number}"))
    seen = _result(tool, "stream view S --from -3 --count 2")["messages"]
    assert [(one["sequence"], one["text"]) for one in seen] == [(5, "m4"), (6, "m5")]
    seen = _result(tool, "stream view S --subject a.1")["messages"]
    assert [one["text"] for one in seen] == ["m3", "m5"]
    assert base64.b64decode(_result(tool, "stream get S 4")["data"]) == b"m3"
    assert _result(tool, "stream get S --last a.0")["sequence"] == 7
    info = _result(tool, "stream info S --subjects")
    assert (info["messages"], info["first_sequence"], info["by_subject"]) == (5, 3, {"a.0": 3, "a.1": 2})
    edited = _result(tool, "stream edit S --max-msgs 3 --description rows")
    assert (edited["config"]["max_msgs"], edited["config"]["max_age"]) == (3, 3600 * 10**9)
    assert (edited["messages"], edited["config"]["subjects"]) == (3, ["a.>", "b"])
    assert _result(tool, "stream purge S --subject a.1 --yes")["purged"] == 1
    assert _result(tool, "stream purge S --keep 1 --yes")["purged"] == 1
    listed = _result(tool, "stream ls")["streams"]
    assert [(one["name"], one["messages"]) for one in listed] == [("S", 1)]
    assert "rows" in tool.ok(*_words("stream info S"))
    assert _result(tool, "stream rm S --yes") == {"name": "S", "removed": True}
    tool.ok(*_words("stream ls"))
    assert "there are no streams" in tool.err


def test_a_stream_of_a_file(tool: Tool, tmp_path: Path) -> None:
    config = {"subjects": ["x"], "max_bytes": 4096, "republish": {"src": "x", "dest": "y"}}
    (tmp_path / "s.json").write_text(json.dumps(config))
    tool.ok(*_words("stream add S --config s.json --max-msgs 9"))
    info = _result(tool, "stream info S")
    config = info["config"]
    assert (config["max_bytes"], config["max_msgs"], config["republish"]["dest"]) == (4096, 9, "y")
    # What was printed makes another one.
    (tmp_path / "t.json").write_text(json.dumps({"result": info}))
    tool.ok(*_words("stream add T --config t.json --subjects z"))
    assert _result(tool, "stream info T")["config"]["max_bytes"] == 4096


def test_consumers(tool: Tool) -> None:
    tool.ok(*_words("stream add S --subjects a.*"))
    for number in range(6):
        tool.ok(*_words(f"pub a.{number} m{number}"))
    added = _result(tool, "consumer add S c --ack-wait 1m --max-deliver 3 --backoff 60s,2m --filter a.0,a.1,a.2,a.3")
    assert added["config"]["backoff"] == [60 * 10**9, 120 * 10**9]
    taken = _result(tool, "consumer next S c --count 2")
    assert ([one["text"] for one in taken["messages"]], taken["answered"]) == (["m0", "m1"], "ack")
    assert _result(tool, "consumer next S c --no-ack")["messages"][0]["text"] == "m2"
    assert _result(tool, "consumer next S c --term")["messages"][0]["text"] == "m3"
    info = _result(tool, "consumer info S c")
    assert (info["pending"], info["ack_pending"], info["ack_floor"]) == (0, 1, 2)
    assert _result(tool, "consumer next S c --timeout 100ms")["messages"] == []
    paused = _result(tool, "consumer pause S c 1h")
    assert paused["paused"]
    assert paused["until"]
    assert "paused" in tool.ok(*_words("consumer ls S"))
    assert not _result(tool, "consumer resume S c")["paused"]
    start = _result(tool, "consumer add S d --start-sequence 5 --ack none")
    assert (start["config"]["deliver_policy"], start["pending"]) == ("by_start_sequence", 2)
    assert [one["name"] for one in _result(tool, "consumer ls S")["consumers"]] == ["c", "d"]
    assert _result(tool, "consumer rm S d --yes")["removed"]
    assert "10148" in _refused(tool, "consumer add S c --ack-wait 2m --filter a.0")


def test_buckets(tool: Tool, tmp_path: Path) -> None:
    tool.ok(*_words("kv add b --history 3 --marker-ttl 1m --description tea"))
    assert _result(tool, "kv put b k.a one")["revision"] == 1
    assert _result(tool, "kv update b k.a two --revision 1")["revision"] == 2
    assert "10071" in _refused(tool, "kv update b k.a three --revision 1")
    assert "has a key k.a already" in _refused(tool, "kv create b k.a x")
    assert _result(tool, "kv get b k.a")["text"] == "two"
    assert _result(tool, "kv get b k.a --revision 1")["text"] == "one"
    (tmp_path / "v").write_bytes(b"\x00\xff\n")
    tool.ok(*_words("kv put b raw --file v"))
    assert base64.b64decode(_result(tool, "kv get b raw")["data"]) == b"\x00\xff\n"
    tool.ok(*_words("kv del b k.a"))
    assert "it was deleted" in _refused(tool, "kv get b k.a")
    assert _result(tool, "kv ls b")["keys"] == ["raw"]
    assert _result(tool, "kv create b k.a again")["revision"] == 5
    assert _result(tool, "kv create b short x --ttl 1m")["revision"] == 6
    history = _result(tool, "kv history b k.a")["entries"]
    assert [(one["operation"], one["text"]) for one in history] == [("PUT", "two"), ("DEL", ""), ("PUT", "again")]
    tool.ok(*_words("kv purge b k.a --yes"))
    assert [one["operation"] for one in _result(tool, "kv history b k.a")["entries"]] == ["PURGE"]
    assert _result(tool, "kv ls b k.>")["keys"] == []
    assert [one["bucket"] for one in _result(tool, "kv ls")["buckets"]] == ["b"]
    assert "tea" in tool.ok(*_words("kv info b"))
    tool.ok(*_words("kv add m --mirror b"))
    assert _result(tool, "kv put m new 1")["revision"] == 8
    tool.ok(*_words("kv rm m --yes"))
    tool.ok(*_words("kv rm b --yes"))
    assert "there is no bucket b" in _refused(tool, "kv get b x")


def test_a_watch(tool: Tool, site: Site) -> None:
    tool.ok(*_words("kv add b"))
    tool.ok(*_words("kv put b k 1"))
    line = ["-H", str(site.home), *_words("kv watch b --max-updates 3")]
    command = [sys.executable, "-m", "tools.nsk", *line]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith("PUT k: 1\n")
        tool.ok(*_words("kv put b k 2"))
        assert process.stdout.readline().endswith("PUT k: 2\n")
        tool.ok(*_words("kv del b k"))
        assert process.stdout.readline().endswith("DEL k\n")
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""


def test_values_and_the_official_client(tool: Tool, site: Site) -> None:
    async def written() -> None:
        async with official(site) as streams:
            bucket = await streams.create_key_value(KeyValueConfig(bucket="theirs", history=4))
            await bucket.put("a", b"1")
            await bucket.put("b", b"2")
            await bucket.delete("b")

    async def read() -> None:
        async with official(site) as streams:
            bucket = await streams.key_value("ours")
            found = await bucket.get("a")
            assert (found.value, found.revision) == (b"one", 1)
            for missing in ("b", "c"):
                with pytest.raises(KeyNotFoundError):
                    await bucket.get(missing)
            assert [entry.operation for entry in await bucket.history("b")] == [None, "DEL"]
            assert (await bucket.status()).history == 3

    _run(written)
    assert _result(tool, "kv get theirs a")["text"] == "1"
    assert [one["operation"] for one in _result(tool, "kv history theirs b")["entries"]] == ["PUT", "DEL"]
    tool.ok(*_words("kv add ours --history 3"))
    tool.ok(*_words("kv put ours a one"))
    tool.ok(*_words("kv put ours b two"))
    tool.ok(*_words("kv del ours b"))
    _run(read)
    # The stream of a bucket is the one that the official client makes, but for the ttl of keys, which is asked for.
    ours, theirs = (_result(tool, f"kv info {name}")["config"] for name in ("ours", "theirs"))
    others = {"name", "subjects", "max_msgs_per_subject", "allow_msg_ttl", "metadata", "allow_direct"}
    assert {key: ours[key] for key in ours.keys() - others} == {key: theirs[key] for key in theirs.keys() - others}


def test_objects(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(range(256)) * 1000)
    tool.ok(*_words("object add o --description manuals"))
    put = _result(tool, "object put o big --name a/b.bin --metadata team=x --chunk-size 100000 --description d")
    digest = base64.urlsafe_b64encode(hashlib.sha256((tmp_path / "big").read_bytes()).digest()).decode()
    assert (put["bytes"], put["chunks"], put["digest"]) == (256000, 3, f"SHA-256={digest}")
    assert _result(tool, "object info o a/b.bin")["object"] == put
    tool.ok(*_words("object get o a/b.bin"))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "big").read_bytes()
    assert "already exists" in _refused(tool, "object get o a/b.bin")
    # What there is no room for leaves nothing behind.
    tool.ok(*_words("object add small --max-bytes 150000"))
    assert "10077" in _refused(tool, "object put small big --chunk-size 100000")
    assert _result(tool, "stream info OBJ_small")["messages"] == 0
    tool.ok(*_words("object rm small --yes"))
    # Another in its place: the chunks of the first are gone.
    (tmp_path / "big").write_bytes(b"")
    tool.ok(*_words("object put o big --name a/b.bin"))
    assert _result(tool, "stream info OBJ_o")["messages"] == 1
    tool.ok(*_words("object get o a/b.bin --force"))
    assert (tmp_path / "b.bin").read_bytes() == b""
    assert [one["name"] for one in _result(tool, "object ls o")["objects"]] == ["a/b.bin"]
    assert [one["bucket"] for one in _result(tool, "object ls")["buckets"]] == ["o"]
    tool.ok(*_words("object del o a/b.bin --yes"))
    assert "has no object" in _refused(tool, "object info o a/b.bin")
    assert _result(tool, "object ls o")["objects"] == []
    assert "manuals" in tool.ok(*_words("object info o"))
    tool.ok(*_words("object rm o --yes"))


def test_objects_and_the_official_client(tool: Tool, site: Site, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "ours.bin").write_bytes(content)

    async def written() -> None:
        async with official(site) as streams:
            store = await streams.create_object_store("o")
            await store.put("theirs.bin", content, ObjectMeta(name="theirs.bin", description="d"))

    async def read() -> None:
        async with official(site) as streams:
            store = await streams.object_store("o")
            found = await store.get("ours.bin")
            assert (found.data, found.info.chunks) == (content, 4)
            assert {info.name for info in await store.list(ignore_deletes=True)} == {"ours.bin", "theirs.bin"}
            await store.delete("ours.bin")

    async def cut() -> None:
        async with official(site) as streams:
            first = await streams.get_msg("OBJ_o", 1)
            await streams.delete_msg("OBJ_o", 1)
            await streams.publish(first.subject, b"x" * len(first.data))

    _run(written)
    tool.ok(*_words("object put o ours.bin"))
    _run(read)
    assert "has no object ours.bin" in _refused(tool, "object get o ours.bin -o other")
    got = _result(tool, "object get o theirs.bin")
    assert ((tmp_path / "theirs.bin").read_bytes(), got["description"]) == (content, "d")
    # What is not what was put is not kept, not even beside the name.
    (tmp_path / "theirs.bin").unlink()
    _run(cut)
    assert "is not what was put" in _refused(tool, "object get o theirs.bin")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["ours.bin"]


def test_a_backup(tool: Tool, site: Site, tmp_path: Path) -> None:
    tool.ok(*_words("stream add S --subjects a --metadata team=x"))
    tool.ok(*_words("consumer add S c"))
    for number in range(4):
        tool.ok(*_words(f"pub a m{number}"))
    tool.ok(*_words("consumer next S c"))
    made = _result(tool, "stream backup S there")
    assert (made["messages"], made["first_sequence"], made["last_sequence"]) == (4, 1, 4)
    assert hashlib.sha256((tmp_path / "there" / "stream.tar.s2").read_bytes()).hexdigest() == made["sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    assert "already exists" in _refused(tool, "stream backup S there")
    assert "10130" in _refused(tool, "stream restore there")
    tool.ok(*_words("stream rm S --yes"))
    assert _result(tool, "stream restore there")["sha256"] == made["sha256"]
    info = _result(tool, "stream info S")
    assert (info["messages"], info["consumers"], info["config"]["metadata"]["team"]) == (4, 1, "x")
    assert [one["text"] for one in _result(tool, "stream view S")["messages"]] == ["m0", "m1", "m2", "m3"]
    assert _result(tool, "consumer next S c")["messages"][0]["text"] == "m1"
    tool.ok(*_words("stream rm S --yes"))

    archive = tmp_path / "there" / "stream.tar.s2"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1])
    assert "is not what was written there" in _refused(tool, "stream restore there")
    # One that another tool has written has no digest, and is seen to be cut off by its frames.
    note = json.loads((tmp_path / "there" / "backup.json").read_text())
    del note["archive"]
    (tmp_path / "there" / "backup.json").write_text(json.dumps(note))
    assert "is no whole archive" in _refused(tool, "stream restore there")
    archive.write_bytes(whole)
    tool.ok(*_words("stream restore there"))
    assert _result(tool, "stream info S")["messages"] == 4


def test_no_backup_of_what_is_not_there(tool: Tool, site: Site, tmp_path: Path) -> None:
    assert "stream not found" in _refused(tool, "stream backup S there")
    assert "tells of no stream" in _refused(tool, f"stream restore {_empty(tmp_path)}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_a_backup_that_is_interrupted_is_not_there(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_directory(tmp_path / "there") as directory, new_file(directory / "part") as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def _empty(directory: Path) -> Path:
    (directory / "empty").mkdir()
    (directory / "empty" / "backup.json").write_text("{}")
    return directory / "empty"


REFUSALS = (
    ("stream info NONE", "stream not found (10059)", "nsk tool stream ls"),
    ("consumer info S c", "consumer not found (10014)", "nsk tool consumer ls"),
    ("stream add S --subjects other", "(10058)", "nsk tool stream edit"),
    ("stream add T --subjects s", "(10065)", "nsk tool stream ls"),
    ("stream add a.b", "`a.b` cannot be the name of a stream", "letters"),
    ("stream get S 9", "stream S has no message 9", "nsk tool stream view S"),
    ("stream rm S", "Remove stream S with 0 messages and its consumers?", "--yes"),
    ("stream purge S", "Remove all its messages", "--yes"),
    ("stream edit S", "please specify some options", ""),
    ("stream add T --storage disk", "--storage is none of file, memory: disk", "--help"),
    ("consumer next S c", "no such stream or consumer", "nsk tool consumer ls"),
    ("kv get none x", "there is no bucket none", "nsk tool kv ls"),
    ("kv add x --history 65", "--history is 1 to 64", ""),
    ("kv put S .x 1", "`.x` cannot be a key", ""),
    ("object get none x", "there is no object store none", "nsk tool object ls"),
)


def test_refusals(tool: Tool) -> None:
    tool.ok(*_words("stream add S --subjects s"))
    tool.ok(*_words("kv add S"))
    for line, words, remedy in REFUSALS:
        error = _refused(tool, line)
        assert words in error.splitlines()[0], line
        assert remedy in error, line


def test_what_cannot_be_undone_is_asked_first(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.ok(*_words("kv add b"))
    asked: list[str] = []
    answers = iter([False, True])

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", confirm)
    tool.ok(*_words("kv rm b"))
    assert tool.err == "nothing was done\n"
    assert _result(tool, "kv ls")["buckets"]
    tool.ok(*_words("kv rm b"))
    assert asked == ["Remove bucket b with all that it holds?"] * 2
    assert _result(tool, "kv ls")["buckets"] == []


def test_who_may_not(tool: Tool) -> None:
    reader = ("--account", "A", "--user", "reader", "--timeout", "1s")
    assert "Permissions Violation" in tool.refused("tool", "stream", "ls", *reader)
    error = tool.refused("tool", "kv", "ls", "--account", "B", "--user", "b")
    assert "JetStream not enabled for account (10039)" in error
    assert "--js-enable" in error


def _run(work: Callable[[], Awaitable[None]]) -> None:
    async def worked() -> None:
        await work()

    asyncio.run(worked())
