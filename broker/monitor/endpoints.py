"""From the path and the parameters of a request to the bytes of its answer; no HTTP library takes part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broker.monitor.absent import NO_RAFT, gatewayz, ipqueuesz, leafz, routez
from broker.monitor.access import OPERATOR, Viewer, limited
from broker.monitor.connections import ConnzOptions, connz_in_parts
from broker.monitor.health import HealthOptions, healthz
from broker.monitor.jetstream import JszOptions, jsz
from broker.monitor.jetstream_metrics import Depth
from broker.monitor.metrics import CONTENT_TYPE, metrics
from broker.monitor.query import Query, QueryError
from broker.monitor.runtime import stacks, variables
from broker.monitor.snapshot import varz
from broker.monitor.statistics import accstatz
from broker.monitor.subscriptions import SubszOptions, subsz
from broker.monitor.tenants import accountz
from broker.monitor.wording import compact, indented
from broker.wire.info import PROVIDED_RELEASE

if TYPE_CHECKING:
    from broker.monitor.ui.pages import Pages
    from broker.monitor.watched import Watched

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
VARIABLES: Final = "application/json; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: HTTPStatus
    content_type: str
    body: bytes | Iterator[bytes]
    """Pieces of it where making it takes long: others have a turn between two of them."""
    headers: tuple[tuple[str, str], ...] = ()

    def whole(self) -> bytes:
        """The body at once, for whoever need not share the loop."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)

    @property
    def is_open(self) -> bool:
        """Whether pages of other origins may read it: only what is JSON."""
        return self.content_type == JSON


UNAUTHORIZED: Final = Answer(HTTPStatus.UNAUTHORIZED, TEXT, b"401 a token of monitor_access is needed\n")
FORBIDDEN: Final = Answer(HTTPStatus.FORBIDDEN, TEXT, b"403 this page is not about your account\n")
NOT_FOUND: Final = Answer(HTTPStatus.NOT_FOUND, TEXT, b"404 page not found\n")
NOT_ALLOWED: Final = Answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"405 method not allowed\n")
METHODS: Final = ("GET", "HEAD")

_INDEX_LINKS: Final = (
    ("varz", "General"),
    ("jsz", "JetStream"),
    ("connz", "Connections"),
    ("accountz", "Accounts"),
    ("accstatz", "Account Stats"),
    ("subsz", "Subscriptions"),
    ("routez", "Routes"),
    ("leafz", "LeafNodes"),
    ("gatewayz", "Gateways"),
    ("raftz", "Raft Groups"),
    ("debug/vars", "Process Variables"),
    ("healthz", "Health Probe"),
    ("metrics", "Prometheus"),
)
_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
  <head>
    <title>natskeep monitoring</title>
    <style>
      body {{ font-family: ui-sans-serif, system-ui, sans-serif; margin: 2rem }}
      a {{ display: block; padding-bottom: 0.4rem; color: #34495e; text-decoration: none }}
      a:hover {{ color: #3b32ca }}
    </style>
  </head>
  <body>
    <h1>natskeep</h1>
    <p>natskeep {version}, as nats-server v{release}</p>
{links}
  </body>
</html>
"""


def _index(watched: Watched, _: Query) -> Answer:
    # Relative links work behind a proxy that serves the page under another path.
    segment = watched.options.monitor.base_path.rstrip("/").rpartition("/")[2]
    prefix = f"./{segment}/" if segment else "./"
    links = "\n".join(
        f'    <a href="{prefix}{name}">{title} <small>/{name}</small></a>' for name, title in _INDEX_LINKS
    )
    page = _INDEX.format(version=watched.version, release=PROVIDED_RELEASE, links=links)
    return Answer(HTTPStatus.OK, HTML, page.encode())


def _json(value: object) -> Answer:
    return Answer(HTTPStatus.OK, JSON, indented(value))


def _page(show: Callable[[Watched, Query], object]) -> Callable[[Watched, Query], Answer]:
    return lambda watched, query: _json(show(watched, query))


def _connz(watched: Watched, query: Query) -> Answer:
    return Answer(HTTPStatus.OK, JSON, connz_in_parts(watched, ConnzOptions.read(query)))


def _metrics(watched: Watched, query: Query) -> Answer:
    return Answer(HTTPStatus.OK, CONTENT_TYPE, metrics(watched, query.text("acc"), Depth.read(query)))


def _accstatz(watched: Watched, query: Query) -> Answer:
    only = query.text("acc")
    return _json(accstatz(watched, [only] if only else (), with_unused=query.boolean("unused") or bool(only)))


def _subsz(watched: Watched, query: Query) -> Answer:
    return _json(subsz(watched, SubszOptions.read(query)))


def _healthz(watched: Watched, query: Query) -> Answer:
    status, health = healthz(
        HealthOptions.read(query),
        is_serving=watched.is_serving(),
        audit_problem=watched.audit_problem(),
        certificates=watched.certificates,
        jetstream=watched.jetstream(),
    )
    return Answer(status, JSON, compact(health))


def _raftz(_: Watched, __: Query) -> Answer:
    return Answer(HTTPStatus.NOT_FOUND, TEXT, NO_RAFT.encode())


def _stacksz(_: Watched, __: Query) -> Answer:
    return Answer(HTTPStatus.OK, JSON, stacks().encode("utf-8", "replace"))


def _variables(_: Watched, __: Query) -> Answer:
    return Answer(HTTPStatus.OK, VARIABLES, indented(variables()))


_ENDPOINTS: Final[Mapping[str, tuple[str, Callable[[Watched, Query], Answer]]]] = {
    "/": ("/", _index),
    "/varz": ("/varz", lambda watched, _: _json(varz(watched))),
    "/connz": ("/connz", _connz),
    "/routez": ("/routez", _page(routez)),
    "/gatewayz": ("/gatewayz", _page(gatewayz)),
    "/leafz": ("/leafz", _page(leafz)),
    "/subsz": ("/subsz", _subsz),
    "/subscriptionsz": ("/subsz", _subsz),
    "/accountz": ("/accountz", lambda watched, query: _json(accountz(watched, query.text("acc")))),
    "/accstatz": ("/accstatz", _accstatz),
    "/jsz": ("/jsz", lambda watched, query: _json(jsz(watched, JszOptions.read(query)))),
    "/healthz": ("/healthz", _healthz),
    "/ipqueuesz": ("", _page(ipqueuesz)),
    "/raftz": ("", _raftz),
    "/stacksz": ("", _stacksz),
    "/debug/vars": ("", _variables),
    "/metrics": ("", _metrics),
}
"""Each path with the name that its requests are counted under, empty for those that nobody counts."""


def answer(
    watched: Watched, method: str, path: str, parameters: Mapping[str, str], viewer: Viewer = OPERATOR
) -> Answer:
    """The answer to one request of whoever looks."""
    path = below(watched.options.monitor.base_path, path)
    endpoint = _ENDPOINTS.get(path)
    if endpoint is None:
        return NOT_FOUND
    if method not in METHODS:
        return NOT_ALLOWED
    limits = limited(parameters, viewer, path)
    if limits is None or not viewer.may_see(path):
        return FORBIDDEN
    counted, respond = endpoint
    if counted:
        watched.requests[counted] = watched.requests.get(counted, 0) + 1
    try:
        return respond(watched, Query(limits))
    except QueryError as error:
        return Answer(HTTPStatus.BAD_REQUEST, TEXT, str(error).encode("utf-8", "replace"))


POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do with a page of the dashboard: nothing from anywhere else, and no code in the page itself."""

_PAGE_HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


def is_page(watched: Watched, path: str) -> bool:
    """Whether a path below the base is one of the dashboard, where there is one."""
    return watched.options.monitor.dashboard and (path == "/ui" or path.startswith("/ui/"))


def page(
    watched: Watched, pages: Pages, method: str, path: str, parameters: Mapping[str, str], *, viewer: Viewer
) -> Answer:
    """A page of the dashboard."""
    path = below(watched.options.monitor.base_path, path)
    if method not in METHODS:
        return NOT_ALLOWED
    limits = limited(parameters, viewer, path)
    if limits is None or not viewer.may_see(path):
        return FORBIDDEN
    try:
        found = pages.page(path, Query(limits), is_tenant=bool(viewer.account))
    except QueryError as error:
        return Answer(HTTPStatus.BAD_REQUEST, TEXT, str(error).encode("utf-8", "replace"))
    return NOT_FOUND if found is None else Answer(*found, headers=_PAGE_HEADERS)


def below(base: str, path: str) -> str:
    """The path below the one that all endpoints stand under; empty when it is not below it."""
    base = base.rstrip("/")
    if path == base:
        return "/"
    below = path.removeprefix(base)
    return below if path.startswith(f"{base}/") and (below != "/" or not base) else ""
