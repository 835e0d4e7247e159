"""The pages of the dashboard, by path. Loaded when the first one is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from broker.control.tenant import Traffic
from broker.monitor.query import Query, QueryError
from broker.monitor.snapshot import traffic
from broker.monitor.ui.chart import chart
from broker.monitor.ui.rates import Rate
from broker.monitor.ui.stream_pages import PATH as STREAMS
from broker.monitor.ui.stream_pages import StreamPages
from broker.monitor.ui.views import ROWS, Usage, Views, limit, pager
from broker.monitor.watched import resident_bytes
from broker.monitor.wording import uptime

if TYPE_CHECKING:
    from broker.monitor.watched import Watched

HERE: Final = Path(__file__).parent
MAPPED: Final = 2000
"""Accounts that the map looks at; with more of them it would be no map any more."""

ASSETS: Final = {"/ui/style.css": "text/css; charset=utf-8", "/ui/script.js": "text/javascript; charset=utf-8"}


class Pages:
    """Renders pages of one server."""

    def __init__(self, watched: Watched) -> None:
        self._views = Views(watched)
        # Whatever a tenant can name itself by goes through here as text: the engine escapes it.
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "count": _count,
            "size": _size,
            "rate": _rate,
            "ago": lambda then: uptime(time.time() - then),
            "moment": _moment,
            "left": _left,
            "span": uptime,
        }
        self._pages: dict[str, Callable[[Query, bool], Iterator[bytes]]] = {
            "/ui": self._overview,
            "/ui/account": self._account,
            "/ui/denials": self._denials,
            "/ui/credentials": self._credentials,
            STREAMS: StreamPages(watched, self._render),
        }

    def page(
        self, path: str, query: Query, *, is_tenant: bool
    ) -> tuple[HTTPStatus, str, bytes | Iterator[bytes]] | None:
        """Status, content type and body of a page, None where there is none. Raises QueryError."""
        if path in ASSETS:
            return HTTPStatus.OK, ASSETS[path], (HERE / "static" / path.rpartition("/")[2]).read_bytes()
        show = self._pages.get(path)
        if show is None:
            return None
        if path == "/ui" and is_tenant:
            show = self._account
        return HTTPStatus.OK, "text/html; charset=utf-8", show(query, is_tenant)

    def _render(self, template: str, here: str, is_tenant: bool, **values: Any) -> bytes:
        watched = self._views.watched
        text = self._templates.get_template(template).render(
            here=here,
            has_streams=watched.jetstream() is not None,
            is_tenant=is_tenant,
            base=watched.options.monitor.base_path.rstrip("/"),
            server=watched.identity.server_name,
            version=watched.version,
            now=time.time(),
            **values,
        )
        return text.encode("utf-8", "replace")

    def _overview(self, query: Query, is_tenant: bool) -> Iterator[bytes]:
        watched, page = self._views.watched, _page(query)
        names = self._views.names()
        rows = []
        for row in self._views.rows(names[page * ROWS : (page + 1) * ROWS]):
            rows.append(row)
            yield b""
        accounts = [found for name in names[:MAPPED] if (found := self._views.account(name)) is not None]
        yield b""
        service = watched.service
        yield self._render(
            "overview.html",
            "/ui",
            is_tenant,
            healthy=watched.is_serving() and not watched.audit_problem(),
            started=watched.started_at,
            connections=len(service.connections),
            total=service.total_connections,
            slow=service.slow_consumers,
            memory=resident_bytes(),
            rate=self._views.server_rate(Traffic(*traffic(watched))),
            map=chart(accounts),
            rows=rows,
            pager=pager(page, len(names)),
        )

    def _account(self, query: Query, is_tenant: bool) -> Iterator[bytes]:
        name, page = query.text("acc"), _page(query)
        account = self._views.account(name)
        if account is None:
            raise QueryError(f"Account {name} does not exist")
        return self._account_parts(name, page, is_tenant)

    def _account_parts(self, name: str, page: int, is_tenant: bool) -> Iterator[bytes]:
        account = self._views.account(name)
        if account is None:
            return
        rows = list(self._views.rows([name]))
        yield b""
        count, connections = self._views.connections(name, page)
        yield b""
        subscription_count, subscriptions = self._views.subscriptions(name, page)
        yield b""
        others = {one.account for one in account.imports}
        known = [name, *sorted(others)]
        if not is_tenant:
            known += [one for one in self._views.names()[:MAPPED] if one not in others and one != name]
        accounts = [found for one in known if (found := self._views.account(one)) is not None]
        yield self._render(
            "account.html",
            "/ui/account",
            is_tenant,
            account=account,
            has_own_streams=self._keeps(name),
            row=rows[0],
            limits=[
                ("connections", rows[0].connections, True),
                ("exports", Usage(len(account.exports), limit(account.limits.exports)), True),
                ("imports", Usage(len(account.imports), limit(account.limits.imports)), True),
                ("subscriptions of a connection", Usage(0, limit(account.limits.subscriptions)), False),
                ("bytes of a message", Usage(0, limit(account.limits.payload)), False),
                ("messages a second", _used(rows[0].rate, "in_messages", account.limits.message_rate), True),
                ("bytes a second", _used(rows[0].rate, "in_bytes", account.limits.byte_rate), True),
            ],
            map=chart(accounts, only=name),
            exports=self._views.exports(account),
            imports=self._views.imports(account),
            connections=connections,
            connection_pager=pager(page, count),
            subscriptions=subscriptions,
            subscription_count=subscription_count,
            denials=self._views.denials(name),
        )

    def _keeps(self, name: str) -> bool:
        streams = self._views.watched.jetstream()
        return streams is not None and streams.has(name)

    def _denials(self, query: Query, is_tenant: bool) -> Iterator[bytes]:
        only = query.text("acc")
        yield self._render("denials.html", "/ui/denials", is_tenant, denials=self._views.denials(only), only=only)

    def _credentials(self, query: Query, is_tenant: bool) -> Iterator[bytes]:
        only = query.text("acc")
        yield b""
        endings = self._views.endings(only)
        yield self._render("credentials.html", "/ui/credentials", is_tenant, endings=endings, only=only)


def _used(rate: Rate | None, name: str, most: int) -> Usage:
    return Usage(0 if rate is None else round(getattr(rate, name)), limit(most))


def _page(query: Query) -> int:
    return max(query.integer("page"), 0)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _left(seconds: float) -> str:
    return "expired" if seconds <= 0 else f"in {uptime(seconds)}"
