"""When a change of files is told, and when it is left alone: however the files come to change."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.authorities import DAY, Holder, root
from tests.support.renewals import Place, Volume, move_over, renewed
from tls.served import serve
from tls.watch import PATIENCE, RECENT_SECONDS, RETRY_SECONDS, FileWatch, News, Refused, Renewed, Restored

ROOT = root()
FIRST, SECOND, THIRD = (renewed(ROOT) for _ in range(3))


class Clocks:
    """The time of the wall and the other, which only tests move on."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.steady = 0.0


class Scene:
    """Files, and a watch that looks when it is told to."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.put(FIRST)
        self.clocks = Clocks()
        self.watch = FileWatch(serve(place.options()), lambda: self.clocks.wall, lambda: self.clocks.steady)

    def looks(self, count: int) -> list[News]:
        """What that many looks told."""
        return [news for _ in range(count) if (news := self.watch.look()) is not None]

    @property
    def shown(self) -> str:
        return self.watch.served.chains[0].fingerprints[0]


def print_of(holder: Holder) -> str:
    return holder.certificate.fingerprint(hashes.SHA256()).hex()


@pytest.fixture(params=[Place, Volume], ids=["files", "volume"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    made: Scene = Scene(request.param(tmp_path))
    return made


@pytest.fixture
def files(tmp_path: Path) -> Scene:
    return Scene(Place(tmp_path))


def test_nothing_is_told_of_files_that_stay(scene: Scene) -> None:
    assert scene.looks(5) == []


def test_a_renewal_is_told_once_it_has_settled(scene: Scene) -> None:
    scene.place.put(SECOND)
    assert scene.looks(1) == []
    (news,) = scene.looks(3)
    assert isinstance(news, Renewed)
    assert news.served is scene.watch.served
    assert scene.shown == print_of(SECOND)
    scene.place.put(THIRD)
    assert [type(news) for news in scene.looks(3)] == [Renewed]
    assert scene.shown == print_of(THIRD)


def test_files_that_are_only_touched(files: Scene) -> None:
    os.utime(files.place.cert_file)
    files.place.put(FIRST)
    assert files.looks(3) == []


@pytest.mark.parametrize("is_key_first", [True, False])
def test_certificate_and_key_one_after_the_other(files: Scene, is_key_first: bool) -> None:
    steps = [(files.place.key_file, SECOND.key_pem()), (files.place.cert_file, SECOND.chain_pem)]
    if not is_key_first:
        steps.reverse()
    for path, data in steps:
        assert files.looks(PATIENCE) == []
        move_over({path: data})
    assert [type(news) for news in files.looks(2)] == [Renewed]


def test_a_write_in_place_that_takes_its_time(files: Scene) -> None:
    path = files.place.cert_file
    files.place.key_file.write_bytes(SECOND.key_pem())
    data = SECOND.chain_pem
    with path.open("wb") as file:
        for start in range(0, len(data), 100):
            # As long as something changes, looks are no reason to lose patience.
            assert files.looks(PATIENCE) == []
            file.write(data[start : start + 100])
            file.flush()
    assert [type(news) for news in files.looks(2)] == [Renewed]


def test_files_that_are_gone_for_a_moment(files: Scene) -> None:
    files.place.cert_file.unlink()
    files.place.key_file.unlink()
    assert files.looks(PATIENCE) == []
    files.place.put(SECOND)
    assert [type(news) for news in files.looks(2)] == [Renewed]


def test_what_stays_unusable_is_told_once(scene: Scene) -> None:
    scene.place.put(renewed(ROOT, ends=-0.5 * DAY))
    assert scene.looks(PATIENCE) == []
    (news,) = scene.looks(10)
    assert isinstance(news, Refused)
    assert "expired" in news.problem
    assert scene.shown == print_of(FIRST)
    scene.place.put(SECOND)
    assert [type(news) for news in scene.looks(5)] == [Renewed]


def test_another_problem_is_told_too(files: Scene) -> None:
    files.place.put(renewed(ROOT, ends=-0.5 * DAY))
    assert len(files.looks(10)) == 1
    files.place.cert_file.write_bytes(b"")
    (news,) = files.looks(10)
    assert isinstance(news, Refused)
    assert "holds no certificate" in news.problem


def test_what_was_served_comes_back(scene: Scene) -> None:
    scene.place.put(renewed(ROOT, ends=-0.5 * DAY))
    assert [type(news) for news in scene.looks(10)] == [Refused]
    scene.place.put(FIRST)
    assert [type(news) for news in scene.looks(5)] == [Restored]
    assert scene.looks(5) == []


def test_what_becomes_valid_is_served_then(files: Scene) -> None:
    files.place.put(renewed(ROOT, begins=DAY))
    assert [type(news) for news in files.looks(10)] == [Refused]
    files.clocks.steady += RETRY_SECONDS
    assert files.looks(3) == []
    files.clocks.wall += 2 * 24 * 3600
    assert files.looks(3) == []
    files.clocks.steady += RETRY_SECONDS
    assert [type(news) for news in files.looks(3)] == [Renewed]


def test_a_change_that_leaves_every_time_as_it_was(files: Scene) -> None:
    """Within one tick of the file system's clock, size and times may all be the same."""
    path = files.place.cert_file
    state = path.stat()
    with path.open("r+b") as file:
        file.write(FIRST.chain_pem[:-40] + b"\n" * 40)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert [type(news) for news in files.looks(10)] == [Refused]


def test_files_are_read_only_while_they_are_young_or_change(files: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(settings: object) -> dict[str, bytes | None]:
        reads.append(settings)
        return {path: Path(path).read_bytes() for path in files.watch.served.settings.files}

    monkeypatch.setattr("tls.watch.read_files", counted)
    files.looks(3)
    assert len(reads) == 3
    files.clocks.wall += RECENT_SECONDS + 1
    files.looks(5)
    assert len(reads) == 3


def test_authorities_are_watched_too(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put(FIRST)
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(ROOT.pem)
    watch = FileWatch(serve(place.options(verify=True, ca_file=str(bundle))))
    bundle.write_bytes(ROOT.pem + root("Other").pem)
    (news,) = [news for _ in range(3) if (news := watch.look()) is not None]
    assert isinstance(news, Renewed)
    assert news.served.changed_files(serve(place.options())) == (str(bundle),)


# Whatever happens to files, what is shown is always a pair that fits, and in the end the last good one


WRITES = st.lists(
    st.tuples(st.sampled_from(["cert", "key"]), st.integers(0, 3), st.sampled_from(["whole", "half", "gone"]),
              st.integers(0, 4)),
    max_size=12,
)
HOLDERS = (FIRST, SECOND, THIRD, renewed(ROOT, ends=-0.5 * DAY))


def applied(place: Place, write: tuple[str, int, str, int]) -> int:
    part, which, how, looks = write
    path = place.cert_file if part == "cert" else place.key_file
    data = HOLDERS[which].chain_pem if part == "cert" else HOLDERS[which].key_pem()
    if how == "gone":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(data if how == "whole" else data[: len(data) // 2])
    return looks


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return (tmp_path_factory.mktemp("files") for _ in iter(int, 1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_any_writes(directories: Iterator[Path], writes: list[tuple[str, int, str, int]]) -> None:
    scene = Scene(Place(next(directories)))
    prints = {print_of(holder): holder for holder in HOLDERS}
    cert, key = 0, 0
    for write in writes:
        looks = applied(scene.place, write)
        part, which, how, _ = write
        if part == "cert":
            cert = which if how == "whole" else -1
        else:
            key = which if how == "whole" else -1
        before = scene.shown
        for news in scene.looks(looks):
            # Only what lies whole in both files, and is valid, is ever taken.
            assert isinstance(news, Refused | Restored) or cert == key in {0, 1, 2}
        if not cert == key in {0, 1, 2}:
            assert scene.shown == before
    told = scene.looks(PATIENCE + 2)
    if cert == key in {0, 1, 2}:
        assert prints[scene.shown] is HOLDERS[cert]
    elif cert != 0 or key != 0:
        assert not any(isinstance(news, Renewed) for news in told)
