"""What monitoring and the system account can be asked, with every parameter, whatever the situation."""

from __future__ import annotations

from typing import Any

PAGES = (
    "/varz",
    "/routez", "/routez?subs=1", "/routez?subs=detail",
    "/gatewayz", "/gatewayz?accs=1", "/gatewayz?accs=1&gw_name=G&acc_name=A&subs=1", "/gatewayz?accs=1&subs=detail",
    "/leafz", "/leafz?subs=1", "/leafz?acc=A",
    "/jsz", "/jsz?accounts=1&streams=1&consumers=1&direct-consumers=1&config=1&raft=1&offset=1&limit=5",
    "/jsz?acc=A&leader-only=0&stream-leader-only=1",
    "/healthz", "/healthz?js-enabled-only=0", "/healthz?js-server-only=1", "/healthz?js-meta-only=1",
    "/healthz?details=1", "/healthz?js-enabled=true", "/healthz?js-enabled-only=true&details=true",
    "/healthz?stream=S", "/healthz?consumer=C", "/healthz?account=A&consumer=C&details=1",
    "/healthz?account=A&stream=S", "/healthz?account=A&stream=S&consumer=C", "/healthz?account=A",
    "/ipqueuesz?queues=nothing", "/raftz", "/raftz?acc=A&group=G", "/debug/vars",
    "/subsz", "/subsz?subs=1", "/subsz?subs=1&limit=5000", "/subsz?subs=1&offset=1000", "/subsz?test=nobody",
    "/subsz?subs=1&test=orders.new", "/subsz?subs=1&acc=A", "/subsz?acc=nobody", "/subscriptionsz?subs=1",
    "/accountz", "/accountz?acc=$G", "/accountz?acc=nobody", "/accstatz", "/accstatz?unused=1",
    "/", "/nothing", "/varz/",
)  # fmt: skip

OF_STREAMS = tuple(
    f"/jsz?{query}"
    for query in (
        "", "accounts=1", "accounts=true&offset=1", "accounts=1&limit=1", "accounts=1&limit=-1&offset=1",
        "accounts=1&offset=9", "accounts=1&offset=-1", "offset=1", "limit=1",
        "streams=1", "consumers=1", "direct-consumers=1", "config=1", "raft=1",
        "acc=A&streams=1&config=1", "acc=A&consumers=1&config=1", "streams=1&direct-consumers=1",
        "acc=A&consumers=1&direct-consumers=1&config=1", "streams=1&offset=1&limit=1",
        "acc=A&streams=1&consumers=1&config=1&raft=1&direct-consumers=1",
        "acc=A", "acc=A&accounts=1", "acc=A&streams=1&consumers=1", "acc=A&raft=1&streams=1",
        "acc=A&offset=1", "acc=IDLE", "acc=IDLE&streams=1", "acc=IDLE&accounts=1", "acc=nobody&consumers=1",
        "leader-only=1", "leader-only=1&acc=A&streams=1", "stream-leader-only=1&streams=1", "stream-leader-only=1",
    )
)  # fmt: skip
"""/jsz with every parameter, where there are streams."""

HEALTH_OF_STREAMS = tuple(
    f"/healthz?{query}{more}"
    for query in (
        "js-enabled-only=1", "js-server-only=1", "js-meta-only=1", "account=A", "account=A&stream=S",
        "account=A&stream=S&consumer=pulled", "account=A&stream=S&consumer=none", "account=A&stream=none",
        "account=A&stream=none&consumer=none", "account=B&stream=F", "account=IDLE", "account=nobody",
        "account=nobody&stream=S", "account=nobody&js-enabled-only=1", "account=nobody&js-server-only=1",
        "account=nobody&js-meta-only=1", "stream=S", "account=A&consumer=pulled",
    )
    for more in ("", "&details=1")
)  # fmt: skip
"""/healthz of what is named."""

REFUSED_PAGES = (
    "/connz?sort=zz", "/connz?sort=stop", "/connz?sort=reason", "/connz?state=zz", "/connz?subs=x", "/connz?auth=x",
    "/connz?cid=x", "/connz?cid=-1", "/connz?offset=x", "/connz?limit=x", "/connz?limit=99999999999999999999",
    "/subsz?subs=x", "/subsz?offset=x", "/subsz?limit=x", "/subsz?test=a.*", "/subsz?test=a..b", "/routez?subs=x",
    "/gatewayz?accs=x", "/gatewayz?subs=x", "/leafz?subs=x", "/accstatz?unused=x", "/jsz?accounts=x", "/jsz?limit=x",
    "/jsz?offset=x", "/jsz?streams=x", "/jsz?consumers=x", "/jsz?direct-consumers=x", "/jsz?config=x",
    "/jsz?leader-only=1", "/jsz?leader-only=x",
    "/jsz?stream-leader-only=x", "/jsz?raft=x", "/healthz?js-enabled-only=x",
    "/healthz?js-enabled=x", "/healthz?js-server-only=x", "/healthz?js-meta-only=x", "/healthz?details=x",
    "/ipqueuesz?all=x",
)  # fmt: skip

SORTED = (
    "cid", "start", "subs", "pending", "msgs_to", "msgs_from", "bytes_to", "bytes_from", "last", "idle", "uptime",
    "rtt",
)  # fmt: skip

CONNECTIONS = (
    "/connz", "/connz?auth=1", "/connz?subs=1", "/connz?subs=detail", "/connz?auth=1&subs=detail",
    "/connz?state=closed", "/connz?state=closed&auth=1", "/connz?state=closed&subs=1&auth=1",
    "/connz?state=closed&subs=detail", "/connz?state=closed&sort=stop", "/connz?state=closed&sort=reason",
    "/connz?state=any", "/connz?state=ALL&auth=true&subs=1", "/connz?limit=1", "/connz?offset=1", "/connz?offset=1000",
    "/connz?cid=1000000", "/connz?acc=$G", "/connz?acc=nobody", "/connz?user=nobody", "/connz?mqtt_client=m",
    *(f"/connz?sort={name}" for name in SORTED),
)  # fmt: skip

Asked = dict[str, tuple[Any, ...]]

OF_SERVERS: Asked = {
    "IDZ": (None, {"server_name": "quay"}),
    "STATSZ": (None, {"server_name": "qua"}),
    "VARZ": (
        None, {"server_name": "quay", "host": "127.0.0.1", "exact_match": True}, {"tags": ["blue"]}, "{", "[]", "3",
    ),
    "CONNZ": (
        None, {"auth": True, "subscriptions": True}, {"subscriptions_detail": True}, {"state": 1}, {"state": 2},
        {"state": 1, "auth": True, "subscriptions_detail": True}, {"sort": "zz"}, {"sort": "stop"}, {"limit": 1},
        {"offset": 1, "limit": 1, "sort": "cid"}, {"cid": 100000}, {"acc": "nobody"}, {"acc": "A", "auth": True},
        {"user": "nobody", "auth": True}, {"mqtt_client": "m"}, {"filter_subject": "orders.>"},
        {"filter_subject": "orders.>", "acc": "A"}, {"sort": "reason", "state": 1},
    ),
    "SUBSZ": (
        None, {"subscriptions": True}, {"subscriptions": True, "account": "A"}, {"test": "a.*"},
        {"subscriptions": True, "test": "orders.new"}, {"subscriptions": True, "limit": 5000},
        {"account": "nobody"},
    ),
    "ROUTEZ": (None, {"subscriptions": True}, {"subscriptions_detail": True}),
    "GATEWAYZ": (None, {"accounts": True}, {"name": "G", "account_name": "A", "subscriptions": True}),
    "LEAFZ": (None, {"subscriptions": True, "account": "A"}),
    "ACCOUNTZ": (None, {"account": "$G"}, {"account": "nobody"}),
    "JSZ": (
        None, {"accounts": True, "streams": True, "consumer": True, "direct_consumer": True, "config": True},
        {"account": "A", "leader_only": False, "raft": True, "offset": 1, "limit": 1, "stream_leader_only": False},
    ),
    "HEALTHZ": (
        None, {"details": True}, {"js-enabled-only": True}, {"js-enabled": True, "details": True},
        {"js-server-only": True}, {"js-meta-only": True}, {"stream": "S"}, {"account": "A", "stream": "S"},
        {"account": "A", "consumer": "C", "details": True}, {"account": "A", "stream": "S", "consumer": "C"},
    ),
    "PROFILEZ": (None, {"name": "nothing"}, {"name": "cpu"}, {"name": "cpu", "duration": 16_000_000_000}),
    "EXPVARZ": (None,),
    "IPQUEUESZ": ({"filter": "nothing"}, {"all": False, "filter": "nothing"}),
    "RAFTZ": (None, {"account": "A", "group": "G"}),
}  # fmt: skip
"""Of one server or of all: the requests of each service."""

OF_ACCOUNTS: Asked = {
    "SUBSZ": (None, {"test": "orders.new"}, {"limit": 5000}),
    "CONNZ": (None, {"auth": True, "subscriptions": True}, {"state": 2, "subscriptions_detail": True}, {"sort": "zz"}),
    "LEAFZ": (None,),
    "JSZ": (None, {"streams": True}),
    "INFO": (None,),
    "STATZ": (None, {"include_unused": True}, {"accounts": ["B"], "include_unused": True}),
    "CONNS": (None,),
}
"""About one account: the requests of each service."""

OF_MANY_ACCOUNTS = (None, {"accounts": ["A", "nobody"]}, {"include_unused": True}, {"accounts": ["B"]})
"""About the numbers of many accounts."""

NOT_FOR_US = ({"server_name": "pier"}, {"host": "elsewhere"}, {"cluster": "C"}, {"domain": "D"}, {"tags": ["red"]})
"""Filters that mean another server."""
