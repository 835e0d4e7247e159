"""The dashboard: what its pages show, how the map is drawn, and that no name ever becomes markup."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from http import HTTPStatus

import pytest

from accounts.account import Account
from accounts.exports import StreamExport
from accounts.imports import ServiceImport, StreamImport
from accounts.limits import AccountLimits
from broker.config.options import AccountOptions, MonitorOptions, Options, UserOptions
from broker.control.audit import Denial
from broker.control.tenant import Traffic
from broker.log import About
from broker.monitor.access import OPERATOR, OWN_PAGES, Viewer
from broker.monitor.endpoints import FORBIDDEN, NOT_FOUND, Answer, is_page, page
from broker.monitor.query import Query, QueryError
from broker.monitor.ui.chart import MOST, chart
from broker.monitor.ui.pages import ASSETS, Pages
from broker.monitor.ui.rates import Rates
from broker.monitor.ui.views import Usage
from tests.unit.monitor.scene import watched

EVIL = "<script>alert(1)</script>"
DASHBOARD = MonitorOptions(dashboard=True)
OPTIONS = Options(
    host="127.0.0.1",
    monitor=DASHBOARD,
    accounts=(
        AccountOptions(
            name="SHOP",
            users=(UserOptions(user="web", password="p"),),
            exports=(StreamExport(subject="prices.>"),),
            limits=AccountLimits(connections=10),
        ),
        AccountOptions(
            name=EVIL,
            users=(UserOptions(user="eve", password="p"),),
            imports=(StreamImport(account="SHOP", subject="prices.>"),),
        ),
    ),
)


class _Page(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.attributes |= {name for name, _ in attrs}
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]


def ask(path: str, viewer: Viewer = OPERATOR, options: Options = OPTIONS, **parameters: str) -> Answer:
    with watched(options) as scene:
        whom = About("x", 7, "127.0.0.1:9", EVIL, f"user:{EVIL}", "1f2e3d4c")
        scene.service.control.trail.recent.append(Denial(1.7e9, "1f2e3d4c", "publish", EVIL, f"no {EVIL}", whom))
        found = page(scene, Pages(scene), "GET", path, parameters, viewer=viewer)
        return Answer(found.status, found.content_type, found.whole(), found.headers)


@pytest.mark.parametrize("path", ["/ui", "/ui/account", "/ui/denials", "/ui/credentials"])
@pytest.mark.parametrize("account", ["SHOP", EVIL])
def test_no_name_becomes_markup(path: str, account: str) -> None:
    found = ask(path, acc=account)
    text = found.whole().decode()
    read = _Page(text)
    assert EVIL not in text
    assert [one.get("src") for one in read.scripts] == ["/ui/script.js"]
    assert not {name for name in read.attributes if name.startswith("on") or name == "style"}
    assert all(link.startswith(("/ui", "#", "data:,")) for link in read.links)
    policy = dict(found.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_overview_names_every_account() -> None:
    text = ask("/ui").whole().decode()
    assert "SHOP" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert f"/ui/account?acc={'%3Cscript%3Ealert%281%29%3C/script%3E'}" in text
    assert '0 of 10 <meter min="0" max="100" high="90" value="0">' in text
    assert "stream prices.&gt;: from SHOP to " in text


def test_denials_and_their_reasons() -> None:
    text = ask("/ui/denials").whole().decode()
    assert "<code>1f2e3d4c</code>" in text
    assert "no &lt;script&gt;" in text
    assert "1f2e3d4c" not in ask("/ui/denials", acc="SHOP").whole().decode()


def test_a_tenant_sees_itself() -> None:
    tenant = Viewer("SHOP")
    text = ask("/ui", tenant).whole().decode()
    assert "<h1>SHOP</h1>" in text
    assert "alert(1)" not in text
    assert "alert(1)" not in ask("/ui/denials", tenant).whole().decode()
    assert ask("/ui/account", tenant, acc=EVIL).status == FORBIDDEN.status
    assert "/ui" in OWN_PAGES


def test_pages_that_are_not_there() -> None:
    assert ask("/ui/zz").status == NOT_FOUND.status
    assert ask("/ui/account", acc="ZZ").status == HTTPStatus.BAD_REQUEST
    assert ask("/ui/style.css/../pages.py").status == NOT_FOUND.status
    for path, kind in ASSETS.items():
        found = ask(path)
        assert (found.status, found.content_type) == (HTTPStatus.OK, kind)
    with watched(Options(monitor=MonitorOptions())) as scene:
        assert not is_page(scene, "/ui")


def test_links_stand_under_the_base_path() -> None:
    options = Options(monitor=MonitorOptions(dashboard=True, base_path="/m"))
    text = ask("/m/ui", options=options).whole().decode()
    assert 'href="/m/ui/style.css"' in text
    assert 'href="/ui' not in text


def accounts(count: int) -> list[Account]:
    return [Account(f"A{number}") for number in range(count)]


def test_the_map_puts_those_first_who_exchange_something() -> None:
    streams = [StreamImport(account="A0", subject=subject) for subject in "yz"]
    busy = Account("Z", imports=(ServiceImport(account="A0", subject="x"), *streams))
    found = chart([*accounts(MOST + 5), busy])
    assert len(found.nodes) == MOST
    assert found.left_out == 6
    assert {node.name for node in found.nodes} >= {"A0", "Z"}
    assert sorted(edge.title for edge in found.edges) == [
        "service x: from A0 to Z", "stream y, z: from A0 to Z",
    ]


def test_the_map_of_one_account() -> None:
    found = chart([*accounts(3), Account("Z", imports=(StreamImport(account="A1", subject="y"),))], only="A1")
    assert {node.name for node in found.nodes} == {"A1", "Z"}
    alone = chart(accounts(2), only="A1")
    assert [node.name for node in alone.nodes] == ["A1"]
    assert not alone.edges


def test_every_point_of_the_map_is_on_it() -> None:
    for count in range(MOST + 2):
        found = chart(accounts(count))
        assert all(0 < node.x < found.width and 0 < node.y < found.height for node in found.nodes)
        assert len({(node.x, node.y) for node in found.nodes}) == len(found.nodes)


def test_an_account_that_imports_from_itself() -> None:
    found = chart([Account("A", imports=(StreamImport(account="A", subject="y"),))])
    assert len(found.edges) == 1
    assert re.match(r"M[\d.]+ [\d.]+ m", found.edges[0].path)


def ticks(*moments: float) -> Iterator[float]:
    yield from moments


def test_rates_are_of_the_time_between_two_looks() -> None:
    clock = ticks(0.0, 0.1, 2.0, 2.1, 4.0)
    rates = Rates(lambda: next(clock))
    assert rates.of("a", Traffic(10, 100, 0, 0)) is None
    assert rates.of("a", Traffic(11, 100, 0, 0)) is None
    rate = rates.of("a", Traffic(30, 500, 4, 0))
    assert rate == (10.0, 200.0, 2.0, 0.0)
    assert rates.of("a", Traffic(31, 500, 4, 0)) == rate
    assert rates.of("a", Traffic(0, 0, 0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("used", "limit", "percent"), [(0, None, None), (5, 10, 50), (11, 10, 100), (0, 0, 100), (1, 3, 33)]
)
def test_how_full_something_is(used: int, limit: int | None, percent: int | None) -> None:
    assert Usage(used, limit).percent == percent


def test_credentials_that_end() -> None:
    with watched(OPTIONS) as scene:
        pages = Pages(scene)
        tenant = scene.service.control.wiring.tenant("SHOP")
        assert tenant is not None
        tenant.account = Account("SHOP", expires_at=int(time.time()) + 3600)
        assert [one.what for one in pages._views.endings("")] == ["the account's claims"]
        assert [one.account for one in pages._views.endings("SHOP")] == ["SHOP"]
        assert pages._views.endings(EVIL) == []
        with pytest.raises(QueryError):
            pages.page("/ui/account", Query({"acc": "ZZ"}), is_tenant=False)
