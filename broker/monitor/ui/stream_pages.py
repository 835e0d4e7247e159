"""The pages of the dashboard about streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from broker.monitor.query import QueryError
from broker.monitor.ui.stream_views import StreamViews
from broker.monitor.ui.views import pager

if TYPE_CHECKING:
    from broker.monitor.query import Query
    from broker.monitor.watched import Watched

PATH = "/ui/streams"


class Render(Protocol):
    """Makes a page of a template."""

    def __call__(self, template: str, here: str, is_tenant: bool, **values: Any) -> bytes: ...


class StreamPages:
    """All accounts with streams, one of them, or one stream: as much as the question names."""

    def __init__(self, watched: Watched, render: Render) -> None:
        self._watched = watched
        self._render = render

    def __call__(self, query: Query, is_tenant: bool) -> Iterator[bytes]:
        """The page in pieces. Raises QueryError for what there is not."""
        streams = self._watched.jetstream()
        if streams is None:
            raise QueryError("This server keeps no streams")
        views, page = StreamViews(self._watched, streams), max(query.integer("page"), 0)
        account, stream = query.text("acc"), query.text("stream")
        if not account:
            return self._accounts(views, page, is_tenant)
        if views.account(account) is None:
            raise QueryError(f"Account {account} has no streams, and may have none")
        if not stream:
            return self._account(views, account, page, is_tenant)
        if views.stream(account, stream) is None:
            raise QueryError(f"Account {account} has no stream {stream}")
        return self._stream(views, account, stream, page, is_tenant)

    def _accounts(self, views: StreamViews, page: int, is_tenant: bool) -> Iterator[bytes]:
        count, found = views.accounts(page)
        rows = []
        for row in found:
            rows.append(row)
            yield b""
        memory, storage, writable = views.server()
        yield self._render(
            "streams.html", PATH, is_tenant,
            rows=rows, pager=pager(page, count), memory=memory, storage=storage, writable=writable,
        )  # fmt: skip

    def _account(self, views: StreamViews, name: str, page: int, is_tenant: bool) -> Iterator[bytes]:
        account = views.account(name)
        count, found = views.streams(name, page)
        rows = []
        for row in found:
            rows.append(row)
            yield b""
        if account is not None:
            yield self._render(
                "account_streams.html", PATH, is_tenant, account=account, rows=rows, pager=pager(page, count)
            )

    def _stream(self, views: StreamViews, account_name: str, name: str, page: int, is_tenant: bool) -> Iterator[bytes]:
        account, stream = views.account(account_name), views.stream(account_name, name)
        count, found = views.consumers(account_name, name, page)
        rows = []
        for row in found:
            rows.append(row)
            yield b""
        if account is not None and stream is not None:
            yield self._render(
                "stream.html", PATH, is_tenant, account=account, stream=stream, rows=rows, pager=pager(page, count)
            )
