"""Servers in situations, and what is looked at in each of them."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.parity.forms import FORMS
from tests.parity.questions import (
    CONNECTIONS,
    HEALTH_OF_STREAMS,
    NOT_FOR_US,
    OF_ACCOUNTS,
    OF_MANY_ACCOUNTS,
    OF_SERVERS,
    OF_STREAMS,
    PAGES,
    REFUSED_PAGES,
)
from tests.parity.stage import Stage

HTTP = 'http: "127.0.0.1:$HTTP"\n'

SITUATIONS: dict[str, Callable[[Stage], None]] = {}


def situation(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """Adds a situation to the catalogue, under the function's name."""
    SITUATIONS[play.__name__] = play
    return play


@situation
def open_server(stage: Stage) -> None:
    """Nobody is asked who it is; clients of all languages, subscriptions, queue groups, connections that are gone."""
    stage.start(HTTP + "ping_interval: \"300ms\"\nping_max: 1000\n")
    peers = [stage.client(fields=form) for form in FORMS.values()]
    for number, peer in enumerate(peers):
        peer.send("SUB orders.* workers 1", "SUB orders.new 2", "SUB audit.> 3", "UNSUB 3 5")
        peer.send("PUB orders.new 2", "hi", "PUB audit.a back 0", "", f"SUB own.{number} 4", "UNSUB 4")
        peer.settle()
        peer.until_measured()
    for peer in peers[:3]:
        peer.close()
    late = stage.client()
    late.send("FOO")
    late.until_closed()
    stage.until_closed(4)
    stage.get(*PAGES, *REFUSED_PAGES, *CONNECTIONS, "/varz")


@situation
def quiet_server(stage: Stage) -> None:
    """A server that nobody has connected to, under another path."""
    stage.start(HTTP + "http_base_path: /watch\n")
    stage.get(*(f"/watch{path}" for path in (*PAGES, *CONNECTIONS) if path != "/"))
    stage.get("/watch", "/varz", "/")


ACCOUNTS = (
    HTTP
    + """
ping_interval: "300ms"
ping_max: 1000
max_control_line: 8192
server_tags: ["blue", "size:small"]
server_metadata: {rack: "7", site: north}
system_account: SYS
accounts {
  SYS { users: [{user: s, password: p}] }
  A {
    users: [
      {user: a, password: p}
      {user: r, password: p, permissions: {
        publish: {allow: ["orders.>", "$SYS.REQ.>", "inbox.>"], deny: "orders.old"}
        subscribe: {deny: ["secret.>", "jobs.* q"]}
        allow_responses: {max: 3, expires: "2s"}
      }}
    ]
    mappings: {
      "old.*": "new.$1"
      "split": [{destination: one, weight: 40%}, {destination: two, weight: 30%, cluster: east}]
    }
    exports: [
      {stream: "news.>"}
      {stream: "private.>", accounts: [B]}
      {service: "ask.*", response_type: stream, response_threshold: "3s"}
      {service: "measured", latency: {sampling: 100%, subject: latency.measured}}
      {service: "by.header", accounts: [B], latency: {sampling: headers, subject: latency.header}}
    ]
  }
  B {
    users: [{user: b, password: p}]
    imports: [
      {stream: {account: A, subject: "news.>"}, prefix: from_a}
      {stream: {account: A, subject: "private.>"}, to: "mine.>"}
      {service: {account: A, subject: "ask.*"}, to: "question.*"}
      {service: {account: A, subject: "measured"}, share: true}
      {service: {account: A, subject: "by.header"}}
    ]
  }
  IDLE { users: [{user: i, password: p}] }
}
"""
)


@situation
def accounts(stage: Stage) -> None:
    """Accounts that share and map subjects; what their clients do, and how they end, seen over HTTP."""
    stage.start(ACCOUNTS)
    system, sharer, restricted, importer = (
        stage.client(user, FORMS[form]) for user, form in (("s", "go"), ("a", "rust"), ("r", "python"), ("b", "java"))
    )
    system.send("SUB $SYS.ACCOUNT.> 1")
    sharer.send("SUB orders.* workers 1", "SUB old.x 2", "SUB measured 3", "UNSUB 3 10", "SUB ask.* 4")
    sharer.settle()
    restricted.send("SUB secret.a 1", "SUB jobs.a q 2", "SUB orders.new 3", "PUB orders.old 0", "")
    importer.send("SUB from_a.news.> 1", "SUB mine.> 2", "SUB answers 3", "PUB measured answers 2", "hi")
    importer.send("PUB question.x answers 0", "")
    gone = stage.client("a", {"name": "gone", **FORMS["dotnet"]})
    gone.send("SUB orders.* workers 1", "SUB news.a 2", "PUB orders.new 1", "x")
    for peer in (system, sharer, restricted, importer, gone):
        peer.until_measured()
    gone.close()
    stage.refused("a")
    stage.refused("nobody", FORMS["go"])
    stage.until_closed(3)
    stage.get(*PAGES, *CONNECTIONS)
    stage.get(*(f"/accountz?acc={name}" for name in ("A", "B", "IDLE", "SYS", "$SYS")))
    stage.get("/connz?acc=A&auth=1", "/connz?acc=A&state=closed&auth=1&subs=detail", "/connz?user=a&auth=1")
    stage.get("/connz?acc=B&subs=1", "/connz?acc=SYS&auth=1&state=any&subs=detail", "/subsz?subs=1&acc=B")


@situation
def system_requests(stage: Stage) -> None:
    """The system account asks about everything."""
    stage.start(ACCOUNTS)
    system, sharer, importer = (stage.client(user, FORMS["go"]) for user in ("s", "a", "b"))
    sharer.send("SUB orders.* workers 1", "SUB orders.new 2")
    importer.send("SUB from_a.news.> 1")
    gone = stage.client("a", FORMS["java"])
    gone.send("SUB orders.new 1")
    for peer in (system, sharer, importer, gone):
        peer.until_measured()
    gone.close()
    stage.until_closed(1)
    for name, requests in OF_SERVERS.items():
        for request in requests:
            stage.ask(system, f"$SYS.REQ.SERVER.<id>.{name}", request)
        stage.ask(system, f"$SYS.REQ.SERVER.PING.{name}", requests[0])
    stage.ask(system, "$SYS.REQ.SERVER.PING")
    stage.ask(system, "$SYS.REQ.SERVER.PING", {"server_name": "quay"})
    stage.ask(system, "$SYS.REQ.SERVER.PING.VARZ", {}, others=NOT_FOR_US)
    stage.ask(system, "$SYS.REQ.SERVER.PING.JSZ", {}, others=({"leader_only": True},))
    for encoding in ("gzip", "identity", "br"):
        stage.ask(system, "$SYS.REQ.SERVER.<id>.CONNZ", header=f"Accept-Encoding: {encoding}")
    for name, refused in (("CONNZ", {"sort": "zz"}), ("CONNZ", "{"), ("KICK", {"cid": 1000000}), ("RELOAD", None)):
        stage.ask(system, f"$SYS.REQ.SERVER.<id>.{name}", refused, header="Accept-Encoding: gzip")
    for name, requests in OF_ACCOUNTS.items():
        for account in ("A", "IDLE", "nobody"):
            if account == "A" or name not in {"STATZ", "CONNS"}:
                for request in requests:
                    stage.ask(system, f"$SYS.REQ.ACCOUNT.{account}.{name}", request)
    stage.ask(system, "$SYS.REQ.ACCOUNT.IDLE.STATZ", {"include_unused": True}, others=(None,))
    for request in OF_MANY_ACCOUNTS:
        stage.ask(system, "$SYS.REQ.ACCOUNT.PING.STATZ", request)
    stage.ask(system, "$SYS.DEBUG.SUBSCRIBERS", "orders.new")
    stage.ask(system, "$SYS.REQ.USER.INFO")
    stage.ask(system, "$SYS.REQ.USER.INFO", header="Accept-Encoding: gzip")
    for name in ("KICK", "LDM"):
        stage.ask(system, f"$SYS.REQ.SERVER.<id>.{name}", {"cid": 1000000})
    stage.values["importer"] = str(importer.cid)
    for name in ("LDM", "KICK"):
        stage.ask(system, f"$SYS.REQ.SERVER.<id>.{name}", '{"cid": <importer>}')
    stage.ask(system, "$SYS.REQ.SERVER.<id>.RELOAD")
    stage.write("server.conf", f'listen: "127.0.0.1:{stage.port}"\nserver_name: quay\nmax_pending: 1000000\n{ACCOUNTS}')
    stage.ask(system, "$SYS.REQ.SERVER.<id>.RELOAD")
    stage.ask(system, "$SYS.REQ.SERVER.<id>.RELOAD", header="Accept-Encoding: br")
    stage.get("/varz")


STREAMS = (
    HTTP
    + """
jetstream { store_dir: "js", max_mem: 10MB, max_file: 20MB, limits { max_ack_pending: 100 } }
system_account: SYS
accounts {
  SYS { users: [{user: s, password: p}] }
  A { jetstream: { max_mem: 1MB, max_file: 2MB }, users: [{user: a, password: p}] }
  B { jetstream: enabled, users: [{user: b, password: p}] }
  MIRRORS { jetstream: enabled, users: [{user: m, password: p}] }
  TAKES { jetstream: enabled, users: [{user: t, password: p}] }
  IDLE { users: [{user: i, password: p}] }
}
"""
)


@situation
def streams(stage: Stage) -> None:
    """Streams and consumers of both kinds, a mirror and a source each in an account of its own, an account without."""
    stage.start(STREAMS)
    system, owner, other, mirroring, taking = (stage.client(user, FORMS["go"]) for user in "sabmt")
    own = {"subjects": ["s.>"], "max_bytes": 100000, "description": "d", "metadata": {"team": "x"}}
    stage.ask(owner, "$JS.API.STREAM.CREATE.S", {"name": "S", **own})
    for number in range(4):
        owner.send(f"PUB s.{'ab'[number % 2]} 2", "hi")
    stage.until("/jsz", lambda page: page["messages"] == 4)
    stage.ask(owner, "$JS.API.STREAM.MSG.DELETE.S", {"seq": 2})
    for peer, name, config in (
        (owner, "EMPTY", {**own, "subjects": ["e"], "storage": "memory", "retention": "workqueue"}),
        (other, "F", {"subjects": ["f"]}),
        (mirroring, "O", {"subjects": ["o"]}),
        (mirroring, "P", {"mirror": {"name": "O"}}),
        (taking, "O", {"subjects": ["o"]}),
        (taking, "P", {"sources": [{"name": "O", "filter_subject": "o"}], "allow_direct": True}),
    ):
        stage.ask(peer, f"$JS.API.STREAM.CREATE.{name}", {"name": name, **config})
    owner.send("SUB out 9")
    for name, consumer in (
        ("pulled", {"ack_policy": "explicit", "durable_name": "pulled", "filter_subject": "s.a"}),
        ("pushed", {"ack_policy": "none", "deliver_subject": "out", "flow_control": True, "idle_heartbeat": 10**9}),
    ):
        asked = {"stream_name": "S", "config": {"name": name, **consumer}}
        stage.ask(owner, f"$JS.API.CONSUMER.CREATE.S.{name}", asked)
    stage.ask(owner, "$JS.API.STREAM.INFO.NONE")
    for peer in (mirroring, taking):
        peer.send("PUB o 2", "hi")
    stage.until("/jsz", lambda page: page["messages"] == 3 + 2 + 2)
    stage.get(*OF_STREAMS, *HEALTH_OF_STREAMS, "/varz", "/accountz?acc=A", "/accountz?acc=IDLE", "/accstatz")
    for request in (
        None,
        {"accounts": True, "offset": 1, "limit": 1},
        {"account": "A", "consumer": True, "direct_consumer": True, "config": True, "raft": True},
        {"account": "nobody", "streams": True},
        {"leader_only": True},
        {"streams": True, "stream_leader_only": True},
    ):
        stage.ask(system, "$SYS.REQ.SERVER.<id>.JSZ", request)
    for request in (None, {"streams": True}, {"consumer": True, "config": True}, {"direct_consumer": True}):
        stage.ask(system, "$SYS.REQ.ACCOUNT.A.JSZ", request)
    for account in ("B", "IDLE", "nobody"):
        stage.ask(system, f"$SYS.REQ.ACCOUNT.{account}.JSZ", {"streams": True})
    for request in (
        None,
        {"account": "A", "stream": "S", "consumer": "pulled"},
        {"account": "A", "stream": "none"},
        *({"account": "nobody", f"js-{switch}": True} for switch in ("enabled-only", "server-only", "meta-only")),
    ):
        stage.ask(system, "$SYS.REQ.SERVER.<id>.HEALTHZ", request)
    stage.ask(system, "$SYS.REQ.SERVER.<id>.STATSZ")


@situation
def user_requests(stage: Stage) -> None:
    """What users of ordinary accounts can ask, and what they cannot."""
    stage.start(ACCOUNTS)
    sharer, importer = (stage.client(user, FORMS["go"]) for user in ("a", "b"))
    restricted = stage.client("r", FORMS["go"])
    for peer in (sharer, importer, restricted):
        peer.until_measured()
    for subject in ("$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"):
        for request in OF_ACCOUNTS["CONNZ"]:
            stage.ask(importer, subject, request)
    for request in OF_MANY_ACCOUNTS:
        stage.ask(sharer, "$SYS.REQ.ACCOUNT.PING.STATZ", request)
    stage.ask(sharer, "$SYS.REQ.USER.INFO")
    stage.ask(restricted, "$SYS.REQ.USER.INFO")
    for subject in ("$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ"):
        stage.ask(sharer, subject, header="Accept-Encoding: gzip")
    for subject in ("$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.<id>.VARZ", "$SYS.REQ.ACCOUNT.A.CONNZ"):
        stage.ask(sharer, subject)


@situation
def events(stage: Stage) -> None:
    """What the system account is told of clients that come, go and are refused."""
    stage.start(ACCOUNTS)
    system = stage.client("s", FORMS["go"])
    system.send("SUB $SYS.ACCOUNT.> 1", "SUB $SYS.SERVER.> 2")
    system.settle()
    for form, fields in FORMS.items():
        peer = stage.client("a", fields)
        stage.told(system, "$SYS.SERVER.ACCOUNT.A.CONNS", "$SYS.ACCOUNT.A.SERVER.CONNS", what="one that comes")
        stage.told(system, "$SYS.ACCOUNT.A.CONNECT", what=form)
        peer.until_measured()
        peer.send("SUB orders.new 1", "PUB orders.new 2", "hi")
        peer.settle()
        peer.close()
        stage.told(system, "$SYS.SERVER.ACCOUNT.A.CONNS", "$SYS.ACCOUNT.A.SERVER.CONNS", what="one that goes")
        stage.told(system, "$SYS.ACCOUNT.A.DISCONNECT", what=form)
    kicked = stage.client("b", FORMS["go"])
    kicked.until_measured()
    stage.told(system, "$SYS.ACCOUNT.B.CONNECT")
    stage.values["kicked"] = str(kicked.cid)
    stage.ask(stage.client("s"), "$SYS.REQ.SERVER.<id>.KICK", '{"cid": <kicked>}')
    stage.told(system, "$SYS.ACCOUNT.B.DISCONNECT", what="one that was kicked")
    for user, form in (("a", "go"), ("nobody", "rust")):
        stage.refused(user, FORMS[form])
        stage.told(system, "$SYS.SERVER.<id>.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT", what=user)
    stage.told(system, "$SYS.SERVER.<id>.STATSZ")
    stage.ask(system, "$SYS.REQ.SERVER.<id>.STATSZ")
    stage.signal(signal.SIGUSR2)
    stage.told(system, "$SYS.SERVER.<id>.LAMEDUCK")


@situation
def shutdown(stage: Stage) -> None:
    """What the system account is told when the server ends."""
    stage.start(ACCOUNTS)
    system = stage.client("s", FORMS["go"])
    system.send("SUB $SYS.SERVER.> 1")
    system.settle()
    stage.signal(signal.SIGTERM)
    stage.told(system, "$SYS.SERVER.<id>.SHUTDOWN")


@situation
def latency(stage: Stage) -> None:
    """Metrics of services."""
    stage.start(ACCOUNTS)
    service, observer, asker = stage.client("a", FORMS["go"]), stage.client("a"), stage.client("b", FORMS["rust"])
    observer.send("SUB latency.> 1")
    for peer in (service, observer, asker):
        peer.until_measured()
    asker.send("PUB measured answers 2", "hi")
    stage.told(observer, "latency.measured", what="nobody there")
    service.send("SUB measured 1", "SUB by.header 2")
    service.settle()
    asker.send("SUB answers 1", "PUB measured answers 2", "hi")
    service.send(f"PUB {service.message('measured').reply} 2", "ok")
    stage.told(observer, "latency.measured", what="one that is answered")
    asker.send("PUB measured 2", "hi")
    stage.told(observer, "latency.measured", what="one without a reply subject")
    header = "NATS/1.0\r\nX-B3-Sampled: 1\r\nX-B3-TraceId: abc\r\n\r\n"
    asker.send(f"HPUB by.header answers {len(header)} {len(header) + 2}", f"{header}hi")
    service.send(f"PUB {service.message('by.header').reply} 2", "ok")
    stage.told(observer, "latency.header")
