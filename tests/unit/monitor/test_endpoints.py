"""From paths to answers."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

import pytest

from broker.config.options import MonitorOptions, Options
from broker.monitor.endpoints import HTML, JSON, NOT_ALLOWED, NOT_FOUND, TEXT, Answer, answer
from tests.unit.monitor.scene import watched


def ask(path: str, method: str = "GET", base: str = "/", **parameters: str) -> Answer:
    with watched(Options(host="127.0.0.1", monitor=MonitorOptions(base_path=base))) as scene:
        return answer(scene, method, path, parameters)


@pytest.mark.parametrize("path", ["/varz", "/connz", "/subsz", "/subscriptionsz", "/accountz", "/accstatz", "/healthz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_endpoints(path: str, method: str) -> None:
    found = ask(path, method)
    assert (found.status, found.content_type) == (HTTPStatus.OK, JSON)
    assert found.is_open
    body = found.whole()
    assert (b"\n  " in body) == (path != "/healthz")
    json.loads(body)


@pytest.mark.parametrize("path", ["/zz", "/varz/", "//varz", "/Varz", "varz", "", "/connz/7", "/base/varz"])
def test_unknown_paths(path: str) -> None:
    # The empty path is the index under the base path "/".
    assert ask(path) == NOT_FOUND if path else ask(path).content_type == HTML


@pytest.mark.parametrize(
    ("path", "is_found"),
    [
        ("/a/b", True),
        ("/a/b/varz", True),
        ("/a/b/", False),
        ("/a/b/varz/", False),
        ("/varz", False),
        ("/", False),
        ("/a/bvarz", False),
        ("/a", False),
    ],
)
@pytest.mark.parametrize("base", ["/a/b", "/a/b/"])
def test_base_path(path: str, base: str, is_found: bool) -> None:
    assert (ask(path, base=base) != NOT_FOUND) == is_found


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(method: str) -> None:
    assert ask("/varz", method) == NOT_ALLOWED
    assert ask("/zz", method) == NOT_FOUND


def test_bad_parameters_are_told_as_text() -> None:
    found = ask("/connz", sort="<script>")
    assert found == Answer(HTTPStatus.BAD_REQUEST, TEXT, b"invalid sorting option: <script>")
    assert not found.is_open


def test_unknown_account() -> None:
    assert ask("/accountz", acc="ZZ") == Answer(HTTPStatus.BAD_REQUEST, TEXT, b"Account ZZ does not exist")


def test_subject_that_nobody_can_publish_to() -> None:
    assert ask("/subsz", test="foo.*").body == b"invalid test subject, must be valid publish subject: foo.*"


@pytest.mark.parametrize("base", ["/", "/a/b"])
def test_links_of_the_index_lead_somewhere(base: str) -> None:
    page = ask(base, base=base)
    assert page.content_type == HTML
    folder = base.rpartition("/")[0]
    links = re.findall(r'href="\.(/[^"]+)"', page.whole().decode())
    assert len(links) == 13
    for link in links:
        assert ask(folder + link, base=base) != NOT_FOUND


def test_requests_are_counted_by_endpoint() -> None:
    with watched(Options(monitor=MonitorOptions(base_path="/m"))) as scene:
        for path in ("/m", "/m/varz", "/m/subsz", "/m/subscriptionsz", "/varz", "/m/zz"):
            answer(scene, "GET", path, {})
        answer(scene, "GET", "/m/connz", {"sort": "zz"})
        answer(scene, "POST", "/m/connz", {})
        found = json.loads(answer(scene, "GET", "/m/varz", {}).whole())
    assert found["http_req_stats"] == {"/": 1, "/connz": 1, "/subsz": 2, "/varz": 2}
