"""Situations in which clients prove who they are by other means than the passwords of accounts."""

from __future__ import annotations

from auth import jwt
from auth.claims import AccountClaims, ActivationClaims, OperatorClaims, UserClaims
from auth.claims.account import OperatorLimits, UserScope, WeightedMapping
from auth.claims.exchange import Export, Import, ServiceLatency
from auth.nkey import KeyKind, KeyPair
from tests.parity.forms import FORMS
from tests.parity.questions import OF_ACCOUNTS
from tests.parity.situations import HTTP, situation
from tests.parity.stage import Peer, Stage

LONG_AGO = 1_700_000_000
YEARS_TO_COME = 4_000_000_000


@situation
def token(stage: Stage) -> None:
    """One token for all."""
    stage.start(HTTP + 'ping_interval: \"300ms\"\nping_max: 1000\nauthorization: {token: "s3cret"}\n')
    peer, gone = (stage.client(fields={**FORMS["go"], "auth_token": "s3cret"}) for _ in range(2))
    for one in (peer, gone):
        one.until_measured()
    gone.close()
    stage.refused(fields={"auth_token": "wrong"})
    stage.until_closed(2)
    stage.get("/varz", "/connz?auth=1", "/connz?state=closed&auth=1", "/accountz?acc=$G")
    stage.ask(peer, "$SYS.REQ.USER.INFO")


@situation
def single_user(stage: Stage) -> None:
    """One user and its password."""
    stage.start(HTTP + "ping_interval: \"300ms\"\nping_max: 1000\nauthorization: {user: one, password: p}\n")
    peer, gone = (stage.client("one", FORMS["python"]) for _ in range(2))
    for one in (peer, gone):
        one.until_measured()
    gone.close()
    stage.refused("one")
    stage.until_closed(2)
    stage.get("/varz", "/connz?auth=1", "/connz?state=closed&auth=1")
    stage.ask(peer, "$SYS.REQ.USER.INFO")


@situation
def nkeys_and_default_user(stage: Stage) -> None:
    """Users with keys beside users with passwords, and one that stands for whoever says nothing."""
    key = KeyPair.generate(KeyKind.USER)
    stage.start(
        HTTP
        + f"""
ping_interval: "300ms"
ping_max: 1000
accounts {{
  K {{ users: [{{nkey: {key.public}}}] }}
  OPEN {{ users: [{{user: everybody, password: p}}] }}
  $SYS {{ users: [{{user: s, password: p}}] }}
}}
no_auth_user: everybody
"""
    )
    system = stage.client("s")
    system.send("SUB $SYS.ACCOUNT.> 1")
    system.settle()
    peers = []
    for _ in range(2):
        peer = stage.open()
        peer.connect({**FORMS["go"], "nkey": key.public}, key)
        peer.until(b"PONG")
        peers.append(peer)
        stage.told(system, "$SYS.ACCOUNT.K.CONNECT")
    peers.append(stage.client())
    stage.told(system, "$SYS.ACCOUNT.OPEN.CONNECT")
    for peer in (system, *peers):
        peer.until_measured()
    peers[1].close()
    stage.told(system, "$SYS.ACCOUNT.K.DISCONNECT")
    stage.until_closed(1)
    stage.get("/varz", "/connz?auth=1", "/connz?state=closed&auth=1")
    for peer in (peers[0], peers[2]):
        stage.ask(peer, "$SYS.REQ.USER.INFO")


class Operator:
    """An operator with the accounts SYS, ACME and GLOBEX, which share subjects."""

    def __init__(self) -> None:
        self.key, self.signing = (KeyPair.generate(KeyKind.OPERATOR) for _ in range(2))
        self.accounts = {name: KeyPair.generate(KeyKind.ACCOUNT) for name in ("SYS", "ACME", "GLOBEX")}
        self.scope, self.plain = (KeyPair.generate(KeyKind.ACCOUNT) for _ in range(2))
        self.users = {name: KeyPair.generate(KeyKind.USER) for name in ("s", "a", "scoped", "g", "revoked")}
        self.tokens = {
            "s": self._user("s", "SYS"),
            "a": self._user("a", "ACME", tags=["team:red"]),
            "scoped": self._user("scoped", "ACME", signer=self.scope),
            "g": self._user("g", "GLOBEX", signer=None, expires=YEARS_TO_COME),
            "revoked": self._user("revoked", "ACME"),
        }

    def configuration(self) -> str:
        """The blocks of a server's configuration."""
        operator = OperatorClaims.new(self.key.public)
        operator.name, operator.nats.system_account = "harbour", self.accounts["SYS"].public
        operator.nats.signing_keys, operator.nats.tags = [self.signing.public], ["coast"]
        operator.nats.operator_service_urls = ["nats://127.0.0.1:4222"]
        preload = "\n".join(f"  {self.accounts[name].public}: {made}" for name, made in self._account_tokens().items())
        return f"operator: {jwt.encode(operator, self.key)}\nresolver: MEMORY\nresolver_preload {{\n{preload}\n}}\n"

    def connect(self, stage: Stage, name: str, form: str = "go") -> Peer:
        """A user that was let in."""
        peer = stage.open()
        peer.connect({**FORMS[form], "jwt": self.tokens[name]}, self.users[name])
        peer.until(b"PONG")
        return peer

    def _account_tokens(self) -> dict[str, str]:
        claims = {name: AccountClaims.new(key.public) for name, key in self.accounts.items()}
        for name, one in claims.items():
            one.name = name
        acme, globex = claims["ACME"].nats, claims["GLOBEX"].nats
        acme.description, acme.info_url, acme.tags = "Parts", "http://acme.test/", ["gold"]
        template = UserScope.new(self.scope.public)
        template.role, template.template.publish.allow = "worker", ["work.>", "inbox.>", "$SYS.REQ.>"]
        acme.signing_keys = [self.plain.public, template]
        acme.default_permissions.subscribe.deny = ["hidden"]
        acme.revocations = {self.users["revoked"].public: YEARS_TO_COME, "*": LONG_AGO}
        acme.mappings = {"old": [WeightedMapping("new", 40), WeightedMapping("newer", 30, "east")]}
        acme.exports = [
            Export(name="news", subject="news.>", type="stream", description="All of it", info_url="http://acme.test/n"),
            Export(name="closed", subject="closed.>", type="stream", token_required=True,
                   revocations={KeyPair.generate(KeyKind.ACCOUNT).public: LONG_AGO, "*": LONG_AGO}),
            Export(name="ask", subject="ask.*", type="service", response_type="Stream", advertise=True,
                   allow_trace=True, response_threshold=3_000_000_000),
            Export(name="measured", subject="measured", type="service", service_latency=ServiceLatency(50, "latency")),
            Export(name="per account", subject="own.*.data", type="service", account_token_position=2),
        ]  # fmt: skip
        activation = ActivationClaims.new(self.accounts["GLOBEX"].public)
        activation.nats.import_subject, activation.nats.kind, activation.name = "closed.>", "stream", "closed"
        source = self.accounts["ACME"].public
        globex.imports = [
            Import(name="news", subject="news.>", account=source, local_subject="acme.news.>", type="stream",
                   allow_trace=True),
            Import(name="closed", subject="closed.>", account=source, type="stream",
                   token=jwt.encode(activation, self.accounts["ACME"])),
            Import(name="ask", subject="ask.*", account=source, local_subject="question.*", type="service", share=True),
            Import(name="measured", subject="measured", account=source, type="service"),
            Import(name="missing", subject="missing", account=source, type="service"),
        ]  # fmt: skip
        limits = OperatorLimits.unlimited()
        limits.connections, limits.subscriptions, limits.disallow_bearer = 100, 1000, True
        globex.limits = limits
        return {
            name: jwt.encode(one, self.key if name == "SYS" else self.signing, issued_at=LONG_AGO)
            for name, one in claims.items()
        }

    def _user(
        self,
        name: str,
        account: str,
        *,
        signer: KeyPair | None = None,
        tags: list[str] | None = None,
        expires: int | None = None,
    ) -> str:
        claims = UserClaims.new(self.users[name].public, scoped=signer is not None)
        claims.name, claims.nats.tags = name, tags or []
        if signer is not None:
            claims.nats.issuer_account = self.accounts[account].public
        if expires is not None:
            claims.expires_at = expires
        return jwt.encode(claims, signer or self.accounts[account])


@situation
def operator(stage: Stage) -> None:
    """Accounts and users with JWTs."""
    made = Operator()
    stage.values |= {name: key.public for name, key in made.accounts.items()}
    stage.start(f"{HTTP}\nping_interval: \"300ms\"\nping_max: 1000\nmax_control_line: 65536\n{made.configuration()}")
    system = made.connect(stage, "s")
    system.send("SUB $SYS.ACCOUNT.> 1", "SUB $SYS.SERVER.> 2")
    system.settle()
    forms = {"a": "rust", "scoped": "python", "g": "java"}
    peers = {name: made.connect(stage, name, form) for name, form in forms.items()}
    for name, account in (("a", "ACME"), ("scoped", "ACME"), ("g", "GLOBEX")):
        stage.told(system, f"$SYS.SERVER.ACCOUNT.<{account}>.CONNS", f"$SYS.ACCOUNT.<{account}>.SERVER.CONNS")
        stage.told(system, f"$SYS.ACCOUNT.<{account}>.CONNECT", what=name)
    for peer in (system, *peers.values()):
        peer.until_measured()
    peers["scoped"].close()
    stage.told(system, "$SYS.ACCOUNT.<ACME>.DISCONNECT")
    stage.refused(fields={**FORMS["go"], "jwt": made.tokens["revoked"]}, key=made.users["revoked"])
    stage.told(system, "$SYS.SERVER.<id>.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT")
    stage.until_closed(2)
    peers["a"].send("SUB news.a 1", "SUB ask.x 2")
    peers["g"].send("SUB acme.news.> 1", "SUB closed.a q 2")
    for name in ("a", "g"):
        peers[name].settle()
    stage.get("/varz", "/accountz", "/accountz?acc=nobody", "/accstatz", "/accstatz?unused=1", "/subsz?subs=1")
    stage.get(*(f"/accountz?acc=<{name}>" for name in made.accounts))
    stage.get("/connz?auth=1&subs=1", "/connz?acc=<ACME>&auth=1", "/connz?state=closed&auth=1")
    for account in ("ACME", "GLOBEX"):
        for name, requests in OF_ACCOUNTS.items():
            stage.ask(system, f"$SYS.REQ.ACCOUNT.<{account}>.{name}", requests[0])
    stage.ask(system, "$SYS.REQ.SERVER.<id>.ACCOUNTZ", {"account": "<ACME>"})
    stage.ask(system, "$SYS.REQ.SERVER.<id>.CONNZ", {"auth": True, "state": 2})
    stage.ask(system, "$SYS.REQ.ACCOUNT.PING.STATZ", {"include_unused": True})
    for peer in (*peers.values(),)[::2]:
        stage.ask(peer, "$SYS.REQ.USER.INFO")
        stage.ask(peer, "$SYS.REQ.ACCOUNT.PING.CONNZ", {"auth": True})
        stage.ask(peer, "$SYS.REQ.ACCOUNT.PING.STATZ")
    scoped = made.connect(stage, "scoped")
    stage.ask(scoped, "$SYS.REQ.USER.INFO")
