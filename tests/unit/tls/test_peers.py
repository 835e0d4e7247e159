"""Questions about clients: what comes of each answer, of none, and of those that are kept."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.authorities import OCSP_SIGNING, Holder, root
from tests.support.ports import reserve_port
from tests.support.responder import Responder, Script
from tls.revocation.answers import Finding, fingerprint
from tls.revocation.cache import AnswerCache, CacheStatistics
from tls.revocation.peers import PeerChecker
from tls.revocation.responders import LARGEST_ANSWER, Responders
from tls.revocation.settings import CacheKind, CacheSettings, PeerSettings

HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
PATIENCE = 20.0
SETTINGS = PeerSettings(verify=True, timeout=10.0)
FETCH = "Failed OCSP response fetch"
PARSE = "Failed OCSP response parse"
TIME = "OCSP response not in effectivity window"
REVOKED = "Invalid OCSP response status: revoked"
UNKNOWN = "Invalid OCSP response status: unknown"
OFF = CacheSettings(kind=CacheKind.NONE)
ROOT = root()


@dataclass
class Scene:
    """A responder, a client that it knows, and a checker whose clock tests move."""

    responder: Responder
    client: Holder
    cache: AnswerCache
    checker: PeerChecker = field(init=False)
    ahead: float = 0.0
    asks: Responders = field(default_factory=Responders)

    def __post_init__(self) -> None:
        self.checker = PeerChecker(self.asks, self.cache, lambda: time.time() + self.ahead)

    @property
    def script(self) -> Script:
        return self.responder.script

    @property
    def questions(self) -> int:
        return len(self.responder.asked)

    async def examine(self, settings: PeerSettings = SETTINGS, *, holder: Holder | None = None) -> str:
        """The reason for which the client is refused."""
        finding = await self.examined(holder or self.client, settings)
        return "" if finding is None else finding.reason

    async def examined(
        self, holder: Holder, settings: PeerSettings = SETTINGS, within: float = PATIENCE
    ) -> Finding | None:
        chain = tuple(map(x509.load_der_x509_certificate, holder.chain))
        return await self.checker.examine(chain, settings, within)

    async def close(self) -> None:
        await self.checker.close()
        await self.asks.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with Responder().open() as responder:
        scene = Scene(responder, responder.issue(ROOT, "client"), AnswerCache(CacheSettings()))
        try:
            yield scene
        finally:
            await scene.close()


@pytest.fixture
async def uncached(scene: Scene) -> AsyncIterator[Scene]:
    other = Scene(scene.responder, scene.client, AnswerCache(OFF))
    yield other
    await other.close()


async def test_each_status(uncached: Scene) -> None:
    assert await uncached.examine() == ""
    uncached.script.unknown = {uncached.client.serial}
    assert await uncached.examine() == UNKNOWN
    assert await uncached.examine(replace(SETTINGS, unknown_is_good=True)) == ""
    uncached.script.revoked = {uncached.client.serial}
    assert await uncached.examine() == REVOKED
    assert await uncached.examine(replace(SETTINGS, unknown_is_good=True)) == REVOKED
    assert await uncached.examine(replace(SETTINGS, warn_only=True)) == ""


async def test_links_of_a_chain(scene: Scene) -> None:
    between = scene.responder.issue(ROOT, "Between", authority=True)
    client, plain = scene.responder.issue(between, "client"), between.issue("plain")
    assert await scene.examine(holder=client) == ""
    assert scene.questions == 2
    assert await scene.examine(holder=plain) == ""
    assert scene.questions == 2
    scene.script.revoked = {between.serial}
    scene.ahead = 2 * 3600
    scene.script.until = DAY
    finding = await scene.examined(client)
    assert finding is not None
    assert finding.chain == tuple(map(x509.load_der_x509_certificate, client.chain))
    assert (finding.certificate, finding.reason) == (finding.chain[1], REVOKED)


async def test_who_names_no_responder_is_not_asked_about(scene: Scene) -> None:
    nobody = ROOT.issue("nobody", ocsp=["ldap://x"])
    assert await scene.examine(holder=nobody) == ""
    assert await scene.examine(holder=ROOT) == ""
    assert scene.questions == 0


# What is no answer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": b""}, PARSE),
        ({"body": b"<html>"}, PARSE),
        ({"status": 500}, FETCH),
        ({"status": 204, "body": b""}, FETCH),
        ({"body": bytes(LARGEST_ANSWER + 1)}, FETCH),
        ({"methods": ()}, FETCH),
        ({"redirect": "http://127.0.0.1:1/"}, FETCH),
        ({"until": -HOUR, "since": -DAY}, TIME),
        ({"since": HOUR, "until": DAY}, TIME),
        ({"until": None, "since": -DAY}, TIME),
        ({"delegate": ROOT.issue("nobody")}, "Invalid OCSP response delegation: CN=client"),
        ({"about": ROOT.issue("another")}, PARSE),
    ],
)
async def test_what_is_no_answer(scene: Scene, change: dict[str, object], reason: str) -> None:
    scene.responder.script = replace(scene.script, **change)
    assert await scene.examine() == reason
    assert await scene.examine(replace(SETTINGS, warn_only=True)) == ""
    unreachable = await scene.examine(replace(SETTINGS, allow_when_unreachable=True))
    assert unreachable == ("" if reason == FETCH else reason)
    assert scene.cache.statistics().answers == 0


async def test_a_delegate(scene: Scene) -> None:
    scene.script.delegate = ROOT.issue("responder", usage=OCSP_SIGNING)
    assert await scene.examine() == ""


async def test_clocks_that_differ(scene: Scene) -> None:
    scene.script.until = datetime.timedelta(seconds=-20)
    assert await scene.examine() == ""
    assert await scene.examine(replace(SETTINGS, clock_skew=5.0)) == TIME


async def test_answers_that_leave_their_end_open(scene: Scene) -> None:
    scene.script.until = None
    long = replace(SETTINGS, default_validity=7200.0)
    assert await scene.examine(long) == ""
    scene.ahead = 2 * 3600 - 60
    assert await scene.examine(long) == ""
    assert scene.questions == 1
    scene.script.since = datetime.timedelta(hours=-1)
    assert await scene.examine() == TIME
    assert scene.questions == 2


async def test_how_it_is_asked(uncached: Scene) -> None:
    await uncached.examine()
    uncached.script.methods = ("GET",)
    await uncached.examine()
    assert [method for method, _ in uncached.responder.asked] == ["POST", "POST", "GET"]
    assert {serial for _, serial in uncached.responder.asked} == {uncached.client.serial}


async def test_one_responder_after_the_other(uncached: Scene) -> None:
    dead = f"http://127.0.0.1:{reserve_port()}/ocsp"
    client = ROOT.issue("client", ocsp=[dead, uncached.responder.url])
    uncached.responder.know(client)
    assert await uncached.examine(holder=client) == ""
    uncached.script.revoked = {client.serial}
    assert await uncached.examine(holder=client) == REVOKED


async def test_nobody_answers(caplog: pytest.LogCaptureFixture, scene: Scene) -> None:
    client = ROOT.issue("client", ocsp=[f"http://127.0.0.1:{reserve_port()}"])
    assert await scene.examine(holder=client) == FETCH
    assert "Attempt to obtain OCSP response from CA responder for [CN=client] failed" in caplog.text
    assert await scene.examine(replace(SETTINGS, allow_when_unreachable=True), holder=client) == ""
    assert "no cached revocation so allowing" in caplog.text


async def test_a_name_that_nobody_has(scene: Scene) -> None:
    client = ROOT.issue("client", ocsp=["http://nobody.invalid/"])
    assert await scene.examine(holder=client) == FETCH


# Slow responders


async def test_a_slow_responder_is_given_up(scene: Scene) -> None:
    scene.script.gate = threading.Event()
    assert await scene.examine(replace(SETTINGS, timeout=0.05)) == FETCH
    assert await scene.examine(replace(SETTINGS, timeout=0.05, allow_when_unreachable=True)) == ""


async def test_a_client_waits_no_longer_than_it_may(scene: Scene) -> None:
    scene.script.gate = threading.Event()
    finding = await scene.examined(scene.client, within=0.05)
    assert finding is not None
    assert finding.reason == FETCH
    # The question goes on, for whoever comes next.
    waiting = asyncio.create_task(scene.examine())
    scene.script.gate.set()
    assert await waiting == ""
    assert scene.questions == 1


async def test_a_slow_responder_holds_up_nobody_else(scene: Scene) -> None:
    with Responder().open() as slow:
        slow.script.gate = threading.Event()
        stuck = [slow.issue(ROOT, f"stuck {number}") for number in range(40)]
        waiting = [asyncio.create_task(scene.examined(one)) for one in stuck]
        await slow.question()
        assert await scene.examine() == ""
        assert not any(task.done() for task in waiting)
        slow.script.gate.set()
        assert await asyncio.gather(*waiting) == [None] * 40


@pytest.mark.parametrize("revoked", [False, True])
async def test_one_question_for_many(uncached: Scene, revoked: bool) -> None:
    uncached.script.gate = threading.Event()
    uncached.script.revoked = {uncached.client.serial} if revoked else set()
    waiting = [asyncio.create_task(uncached.examine()) for _ in range(50)]
    await uncached.responder.question()
    # Those who leave take nobody along.
    waiting.pop(0).cancel()
    uncached.script.gate.set()
    assert await asyncio.gather(*waiting) == [REVOKED if revoked else ""] * 49
    assert uncached.questions == 1


async def test_the_end_calls_questions_off(scene: Scene) -> None:
    scene.script.gate = threading.Event()
    waiting = asyncio.create_task(scene.examine())
    await scene.responder.question()
    await scene.checker.close()
    assert await waiting == FETCH


# What is kept


async def test_an_answer_is_kept(scene: Scene) -> None:
    for _ in range(3):
        assert await scene.examine() == ""
    assert scene.questions == 1
    assert scene.cache.statistics() == CacheStatistics("local", hits=2, misses=1, answers=1, good=1)
    scene.script.revoked = {scene.client.serial}
    assert await scene.examine() == ""
    scene.ahead = 3600 + 60
    scene.script.until = DAY
    assert await scene.examine() == REVOKED
    assert scene.questions == 2
    assert scene.cache.statistics() == CacheStatistics("local", hits=3, misses=2, answers=1, revoked=1)
    assert await scene.examine() == REVOKED
    assert scene.questions == 2


async def test_nothing_is_kept_where_that_is_off(uncached: Scene) -> None:
    for _ in range(3):
        assert await uncached.examine() == ""
    assert uncached.questions == 3
    assert uncached.cache.statistics() == CacheStatistics("none")


@pytest.mark.parametrize("preserve", [False, True])
async def test_what_was_revoked_and_is_out_of_date(scene: Scene, preserve: bool) -> None:
    other = Scene(scene.responder, scene.client, AnswerCache(CacheSettings(preserve_revoked=preserve)))
    lenient = replace(SETTINGS, allow_when_unreachable=True)
    other.script.revoked = {other.client.serial}
    assert await other.examine() == REVOKED
    other.ahead = 2 * 3600
    other.script.status = 500
    # It is remembered for this once at least.
    assert await other.examine(lenient) == FETCH
    assert other.cache.statistics().revoked == int(preserve)
    assert await other.examine(lenient) == (FETCH if preserve else "")
    await other.close()


async def test_answers_outlive_the_server(scene: Scene, tmp_path: Path) -> None:
    kept = CacheSettings(directory=str(tmp_path / "cache"))
    revoked = scene.responder.issue(ROOT, "revoked")
    scene.script.revoked = {revoked.serial}
    first = Scene(scene.responder, scene.client, AnswerCache(kept))
    assert await first.examine() == ""
    assert await first.examine(holder=revoked) == REVOKED
    assert first.cache.is_changed
    assert first.cache.save(first.cache.entries())
    assert not first.cache.is_changed
    await first.close()
    text = json.loads((tmp_path / "cache" / "cache.json").read_text())
    entry = text[fingerprint(revoked.certificate)]
    assert (entry["subject"], entry["resp_status"]) == ("CN=revoked", "revoked")
    second = Scene(scene.responder, scene.client, AnswerCache(kept))
    second.cache.load()
    assert second.cache.statistics() == CacheStatistics("local", answers=2, good=1, revoked=1)
    asked = scene.questions
    assert await second.examine() == ""
    assert await second.examine(holder=revoked) == REVOKED
    assert scene.questions == asked
    await second.close()


async def test_a_file_is_not_trusted(scene: Scene, tmp_path: Path) -> None:
    kept = CacheSettings(directory=str(tmp_path), preserve_revoked=True)
    other = Scene(scene.responder, scene.client, AnswerCache(kept))
    assert await other.examine() == ""
    friend = other.responder.issue(ROOT, "friend")
    assert await other.examine(holder=friend) == ""
    entries = other.cache.entries()
    mine, theirs = (fingerprint(one.certificate) for one in (other.client, friend))
    # The answer about somebody else in the place of one's own, said to be of any kind.
    entries[mine] |= {"resp": entries[theirs]["resp"], "resp_status": "revoked"}
    other.cache.save(entries)
    await other.close()
    second = Scene(scene.responder, scene.client, AnswerCache(kept))
    second.cache.load()
    second.script.revoked = {second.client.serial}
    asked = scene.questions
    assert await second.examine() == REVOKED
    assert scene.questions == asked + 1
    assert await second.examine(holder=friend) == ""
    assert scene.questions == asked + 1
    await second.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Unable to load OCSP peer cache"),
        ("[]", "the file holds no map"),
        ("{", "Unable to load OCSP peer cache"),
        ('{"x": 1}', "1 entries of the OCSP peer cache cannot be read"),
        (json.dumps({"x": dict.fromkeys(["subject", "cached_at", "resp_expires"], "")
                     | {"resp": "/wYAAFMyc1R3TwA=", "resp_status": "good"}}),
         "1 entries of the OCSP peer cache cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache.json").write_text(text)
    cache = AnswerCache(CacheSettings(directory=str(tmp_path)))
    cache.load()
    assert cache.statistics().answers == 0
    assert message in caplog.text


def test_a_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = AnswerCache(CacheSettings(directory=str(tmp_path / "file")))
    assert not cache.save(cache.entries())
    assert "Unable to save OCSP peer cache" in caplog.text
