"""Answers about the server's own certificates: when they are fetched, kept and done without."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.authorities import PEM, Holder, root
from tests.support.ports import reserve_port
from tests.support.responder import Responder
from tls.revocation import stapler as module
from tls.revocation.answers import CertificateStatus, read_answer
from tls.revocation.responders import Responders
from tls.revocation.settings import StapleError, StapleMode, StapleSettings
from tls.revocation.stapler import Stapler, find_issuer, wants_staple

ROOT = root()
HOUR = datetime.timedelta(hours=1)


@dataclass
class Scene:
    """A responder, a certificate that it knows, and staplers whose clock tests move."""

    responder: Responder
    holder: Holder
    store: str = ""
    ahead: float = 0.0
    asks: Responders = field(default_factory=Responders)

    def stapler(self, mode: StapleMode = StapleMode.ALWAYS, urls: tuple[str, ...] = ()) -> Stapler:
        return Stapler(
            file="server.pem",
            certificate=self.holder.certificate,
            issuer=ROOT.certificate,
            settings=StapleSettings(mode=mode, urls=urls),
            asks=self.asks,
            store=self.store,
            clock=lambda: time.time() + self.ahead,
        )

    @property
    def questions(self) -> int:
        return len(self.responder.asked)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with Responder().open() as responder:
        scene = Scene(responder, responder.issue(ROOT, "server"))
        try:
            yield scene
        finally:
            await scene.asks.close()


def test_which_certificates_have_one() -> None:
    promising, plain = ROOT.issue("a", must_staple=True).certificate, ROOT.issue("b").certificate
    wanted = {
        mode: (wants_staple(promising, StapleSettings(mode=mode)), wants_staple(plain, StapleSettings(mode=mode)))
        for mode in StapleMode
    }
    assert wanted == {
        StapleMode.AUTO: (True, False),
        StapleMode.MUST: (True, False),
        StapleMode.ALWAYS: (True, True),
        StapleMode.NEVER: (False, False),
    }


async def test_what_is_shown(scene: Scene) -> None:
    stapler = scene.stapler()
    assert stapler.staple() is None
    await stapler.open()
    shown = stapler.staple()
    assert shown is not None
    answer = read_answer(shown, scene.holder.certificate, ROOT.certificate, time.time())
    assert answer.status is CertificateStatus.GOOD
    scene.ahead = 3590
    assert stapler.staple() == shown
    scene.ahead = 3601
    assert stapler.staple() is None
    await stapler.refresh()
    assert stapler.staple() is None
    scene.responder.script.until = 3 * HOUR
    await stapler.refresh()
    assert stapler.staple() is not None


async def test_a_clock_that_is_behind(scene: Scene) -> None:
    scene.ahead = -20
    stapler = scene.stapler()
    scene.responder.script.since = datetime.timedelta(0)
    await stapler.open()
    assert stapler.staple() is not None
    scene.ahead = -100
    with pytest.raises(StapleError, match="in the future"):
        await scene.stapler().open()


async def test_whom_to_ask_can_be_set(scene: Scene) -> None:
    scene.holder = ROOT.issue("server", ocsp=[f"http://127.0.0.1:{reserve_port()}"])
    scene.responder.know(scene.holder)
    dead = f"http://127.0.0.1:{reserve_port()}"
    await scene.stapler(urls=(dead, scene.responder.url)).open()
    assert scene.questions == 1
    with pytest.raises(StapleError, match=r"bad OCSP status update for certificate at .server\.pem.: .*; see that"):
        await scene.stapler().open()


async def test_nobody_to_ask(scene: Scene) -> None:
    scene.holder = ROOT.issue("server")
    with pytest.raises(StapleError, match="names no OCSP responder"):
        await scene.stapler().open()


@pytest.mark.parametrize("mode", [StapleMode.ALWAYS, StapleMode.MUST, StapleMode.AUTO])
@pytest.mark.parametrize("status", ["revoked", "unknown"])
async def test_a_certificate_that_is_not_good(scene: Scene, mode: StapleMode, status: str) -> None:
    setattr(scene.responder.script, status, {scene.holder.serial})
    stapler = scene.stapler(mode)
    if mode is StapleMode.AUTO:
        await stapler.open()
        assert stapler.staple() is not None
        assert stapler.problem == ""
    else:
        with pytest.raises(StapleError, match=rf"found OCSP status .*server\.pem.: {status}; replace"):
            await stapler.open()


@pytest.mark.parametrize(
    "change", [{"status": 500}, {"body": b"x"}, {"until": -2 * HOUR, "since": -3 * HOUR}, {"since": HOUR}]
)
async def test_no_answer_at_the_start(scene: Scene, change: dict[str, object]) -> None:
    for name, value in change.items():
        setattr(scene.responder.script, name, value)
    with pytest.raises(StapleError, match="bad OCSP status"):
        await scene.stapler(StapleMode.AUTO).open()


# The disk


async def test_an_answer_outlives_the_server(scene: Scene, tmp_path: Path) -> None:
    scene.store = str(tmp_path / "data")
    first = scene.stapler()
    await first.open()
    (file,) = (tmp_path / "data" / "ocsp").iterdir()
    assert file.name == scene.holder.certificate.fingerprint(module.hashes.SHA256()).hex()
    assert file.read_bytes() == first.staple()
    scene.responder.script.status = 500
    second = scene.stapler()
    await second.open()
    assert second.staple() == first.staple()
    assert scene.questions == 1
    scene.ahead = 3600
    with pytest.raises(StapleError, match="bad OCSP status"):
        await scene.stapler().open()


@pytest.mark.parametrize("content", [b"", b"x", b"another"])
async def test_a_stored_answer_is_not_trusted(scene: Scene, tmp_path: Path, content: bytes) -> None:
    scene.store = str(tmp_path)
    stapler = scene.stapler()
    await stapler.open()
    (file,) = (tmp_path / "ocsp").iterdir()
    if content == b"another":
        other = Scene(scene.responder, scene.responder.issue(ROOT, "other"), str(tmp_path / "x"))
        stranger = other.stapler()
        await stranger.open()
        await other.asks.close()
        content = stranger.staple() or b""
    file.write_bytes(content)
    asked = scene.questions
    again = scene.stapler()
    await again.open()
    assert scene.questions == asked + 1
    assert file.read_bytes() == again.staple()


async def test_a_disk_that_takes_nothing(scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    scene.store = str(tmp_path / "file")
    stapler = scene.stapler()
    await stapler.open()
    assert stapler.staple() is not None
    assert "cannot be stored" in caplog.text


# Time


async def test_when_it_is_fetched_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == len(expected):
            done.set()
            await asyncio.Event().wait()
        script = scene.responder.script
        scene.ahead += seconds
        script.since = datetime.timedelta(seconds=scene.ahead)
        script.until = datetime.timedelta(seconds=scene.ahead + 3600)
        if len(waits) == 2:
            script.status = 500
        if len(waits) == 10:
            script.status = 200
            script.until = None

    expected = [1800, 1800, 5, 10, 20, 40, 80, 120, 120, 120, 3600, 3600]
    stapler = scene.stapler()
    await stapler.open()
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    keeping = asyncio.ensure_future(stapler.keep(lambda: None))
    await done.wait()
    keeping.cancel()
    assert waits == pytest.approx(expected, abs=5)
    assert stapler.staple() is not None


async def test_a_certificate_that_is_revoked_while_it_is_served(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def sleep(seconds: float) -> None:
        scene.ahead += seconds
        scene.responder.script.until = 2 * HOUR
        scene.responder.script.revoked = {scene.holder.serial}

    stapler = scene.stapler()
    await stapler.open()
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    shown: list[bytes | None] = []
    await stapler.keep(lambda: shown.append(stapler.staple()))
    assert len(shown) == 1
    assert stapler.problem == "found OCSP status for certificate at 'server.pem': revoked; replace the certificate"
    assert "Received OCSP status for Client certificate at 'server.pem': revoked" in caplog.text


# Issuers


def test_who_issued_it(tmp_path: Path) -> None:
    between = ROOT.issue("Between", authority=True)
    own = between.issue("server").certificate
    other = root("Other").certificate
    pem = b"".join(one.public_bytes(PEM) for one in (other, between.certificate))
    assert find_issuer("server.pem", [own, between.certificate], b"") == between.certificate
    assert find_issuer("server.pem", [own], pem) == between.certificate
    assert find_issuer("server.pem", [own, other], pem) == between.certificate
    impostor = root("Between").certificate
    for chain in ([own], [own, impostor], [own, ROOT.certificate]):
        with pytest.raises(StapleError, match="needs the certificate of its issuer, CN=Between; append it to the file"):
            find_issuer("server.pem", chain, other.public_bytes(PEM))
    with pytest.raises(StapleError):
        find_issuer("server.pem", [own], b"")


def test_a_chain_is_read_as_it_stands(tmp_path: Path) -> None:
    holder = ROOT.issue("Between", authority=True).issue("server")
    path, _ = holder.write(tmp_path, "server")
    chain = x509.load_pem_x509_certificates(Path(path).read_bytes())
    assert find_issuer(path, chain, b"") == chain[1]
