"""What the account tool writes is taken: by natskeep, by nats-server and by nats-py.

One store holds every kind of JWT, with everything that can be said in it. Servers start with the configuration that was
generated of it, every account works in them, and every credentials file is let in, but those that are not to be.
With NATSKEEP_REFERENCE=/path/to/nats-server the same holds for that server; 2.9 is the oldest that was tried.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest

from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target, targets
from tools.nsk.__main__ import main
from tools.nsk.keystore import KeyStore
from tools.nsk.private_inbox import inbox_prefix
from tools.nsk.store import Store

SECONDS = 10.0
SESSION = """\
edit operator --sk generate --tag production --service-url nats://127.0.0.1:1
add account PLAIN
edit account PLAIN --sk generate --description "nothing but a key" --info-url https://example.com/shop --tag a,b
add user --account PLAIN plain
add account LIMITS --expiry 1y --start 2020-01-01
edit account LIMITS --conns 50 --leaf-conns 5 --subscriptions 100 --data 1M --payload 64K --imports 5 --exports 5
edit account LIMITS --sk generate --wildcard-exports=false --disallow-bearer
edit account LIMITS --js-tier 1 --js-disk-storage 1G --js-mem-storage 1G --js-streams 5 --js-consumer 5
edit account LIMITS --js-tier 3 --js-disk-storage 1G --js-max-disk-stream 1M --js-max-ack-pending 5
add user --account LIMITS limited
edit user --account LIMITS limited --subs 10 --data 1M --payload 1K
add account FLAT
edit account FLAT --sk generate --js-disk-storage 1G --js-mem-storage 1G --js-max-bytes-required --js-max-mem-stream 1M
add user --account FLAT flat
add account MAKER
edit account MAKER --sk generate
add export --account MAKER --name news --subject news.>
edit export --account MAKER --subject news.> --description papers --info-url https://example.com/news
add export --account MAKER --name private --subject private.> --private
add export --account MAKER --name token --subject own.*.> --account-token-position 2
add export --account MAKER --name ask --subject ask.* --service --latency lag.ask --sampling 50 --allow-trace
add export --account MAKER --name headers --subject head --service --latency lag.head --sampling header
add export --account MAKER --name flow --subject flow --service --response-type Stream --response-threshold 5s
add export --account MAKER --name parts --subject parts --service --response-type Chunked --private
add mapping --account MAKER --from a --to b --weight 50
add mapping --account MAKER --from a --to c --weight 30
add mapping --account MAKER --from old.* --to new.{{wildcard(1)}} --cluster east
revocations add_activation --account MAKER --subject private.> --target-account {PLAIN}
revocations add-user --account MAKER --user-public-key * --at 2020-01-01T00:00:00Z
add user --account MAKER maker
add account TAKER
edit account TAKER --sk generate --trace-context-subject trace.messages --trace-context-sampling 25
add import --account TAKER --src-account {MAKER} --remote-subject news.> --local-subject papers.>
add import --account TAKER --src-account {MAKER} --remote-subject own.{TAKER}.> --local-subject mine.> --allow-trace
add import --account TAKER --src-account {MAKER} --remote-subject ask.* --local-subject question.* --service --share
generate activation --account MAKER --subject private.> --target-account {TAKER} --expiry 1y -o private.jwt
generate activation --account MAKER --subject parts --target-account {TAKER} -o parts.jwt
add import --account TAKER --token private.jwt --local-subject secret.>
add import --account TAKER --token parts.jwt --local-subject pieces
add user --account TAKER taker
add account DEFAULTS
edit account DEFAULTS --allow-pub a.>,b.> --allow-sub "jobs.> workers" --deny-pub a.secret --allow-pub-response=3
edit account DEFAULTS --sk generate --response-ttl 5s
add user --account DEFAULTS inheriting
add account USERS
edit account USERS --sk generate
add user --account USERS allowed --allow-pub a.>,b.* --deny-pub a.x --allow-sub _INBOX.> --deny-sub "y.> z"
add user --account USERS replying --allow-sub "jobs workers" --allow-pub-response=5 --response-ttl 10s --tag x
add user --account USERS bearer --bearer
add user --account USERS expiring --expiry 1y --start 2020-01-01
edit user --account USERS expiring --source-network 127.0.0.0/8,::1/128 --conn-type STANDARD,WEBSOCKET
edit user --account USERS expiring --time 00:00:00-12:00:00 --time 11:00:00-01:00:00 --locale Europe/Berlin
add user --account USERS private.inbox --private-inbox
add user --account USERS service --role service --subject s.>
add user --account USERS consumer --role consumer --subject s.>
add user --account USERS publisher --role publisher --subject s.> --private-inbox
add user --account USERS admin --role admin
add user --account USERS elsewhere --source-network 192.0.2.0/24
add user --account USERS mqtt
edit user --account USERS mqtt --conn-type MQTT
add user --account USERS late --start 2099-01-01
add user --account USERS leaked
revocations add-user --account USERS --name leaked
add users --account USERS --count 3 --prefix sensor- --role publisher --subject telemetry.>
edit signing-key --account USERS --sk generate --role worker --allow-pub work.{{{{name()}}}}.> --allow-sub _INBOX.>
edit signing-key --account USERS --sk worker --subs 5 --payload 1K --description "does work" --allow-pub-response
add user --account USERS scoped -K worker
add account CALLOUT
edit account CALLOUT --sk generate
add user --account CALLOUT authority
edit authcallout --account CALLOUT --auth-user {CALLOUT/authority} --allowed-account * --curve generate
"""
"""One command a line; ``{NAME}`` is the public key of an account, ``{NAME/user}`` that of a user."""
KEPT_OUT = {"elsewhere", "mqtt", "late", "leaked"}
"""Users that servers are to refuse: for their network, their kind of connection, their time, a revocation."""


@dataclass(frozen=True, slots=True)
class Case:
    """An operator's store with everything in it."""

    home: Path
    store: Store

    @property
    def users(self) -> list[tuple[str, str]]:
        """All users but those of the system account, with their accounts."""
        accounts = (name for name in self.store.accounts() if name != "SYS")
        return [(account, user) for account in accounts for user in self.store.users(account)]


def run(home: Path, *words: str) -> None:
    """A command line of the tool, which succeeds."""
    assert main(["-H", str(home), *words]) == 0, words


def _fill(home: Path, *, strict: bool, url: str) -> Case:
    run(home, "add", "operator", "O")
    run(home, "edit", "operator", "--account-jwt-server-url", url)
    if strict:
        run(home, "edit", "operator", "--require-signing-keys", "--sk", "generate")
    store = Store.open(home, "O", KeyStore(home))
    run(home, "add", "account", "SYS")
    run(home, "edit", "account", "SYS", "--sk", "generate", "--js-disable")
    run(home, "edit", "operator", "--system-account", "SYS")
    run(home, "add", "user", "--account", "SYS", "sys")
    for line in SESSION.splitlines():
        accounts = store.accounts() if "{" in line else ()
        keys = {name: store.account(name).subject for name in accounts}
        keys |= {f"{name}/{user}": store.user(name, user).subject for name in accounts for user in store.users(name)}
        run(home, *(word.format(**keys) for word in shlex.split(line)))
    return Case(home, store)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "strict"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("accepted")
        patch.setenv("HOME", str(home))
        patch.chdir(home)
        yield _fill(home / "h", strict=request.param, url=f"nats://127.0.0.1:{reserve_port()}")


@contextmanager
def _serving(case: Case, target: Target, resolver: str, directory: Path) -> Iterator[str]:
    """A server with the generated configuration, to which accounts are pushed where it keeps them itself; its URL."""
    url = case.store.operator().nats.account_server_url
    operator = directory / "operator.conf"
    run(case.home, "generate", "config", resolver, "--config-file", str(operator))
    operator.write_text(operator.read_text().replace("./jwt", str(directory / "jwt")))
    configuration = directory / "server.conf"
    configuration.write_text(f'listen: "{url.removeprefix("nats://")}"\nserver_name: S1\ninclude "operator.conf"\n')
    with ServerProcess(target, ["-c", str(configuration)], directory) as server:
        assert server.wait_until_ready(), server.output
        if resolver == "--nats-resolver":
            run(case.home, "push", "-A", "--yes")
        yield url


async def _enters(case: Case, url: str, account: str, user: str) -> str:
    """Connects with a user's credentials file, and gets its own message where it may; what refused it, or nothing."""
    prefix = inbox_prefix(case.store.user(account, user)) or "_INBOX"
    try:
        client = await nats.connect(
            url,
            user_credentials=str(case.store.creds_path(account, user)),
            inbox_prefix=prefix,
            allow_reconnect=False,
            connect_timeout=round(SECONDS),
        )
    except nats.errors.Error as error:
        return str(error)
    await client.flush(round(SECONDS))
    await client.close()
    return ""


@pytest.mark.parametrize("resolver", ["--mem-resolver", "--nats-resolver"])
@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_servers_and_clients_take_everything(case: Case, target: Target, resolver: str, tmp_path: Path) -> None:
    with _serving(case, target, resolver, tmp_path) as url:
        refused = asyncio.run(_refused(case, url))
    assert refused.keys() == KEPT_OUT, refused
    assert all("authorization violation" in answer.lower() for answer in refused.values())


async def _refused(case: Case, url: str) -> dict[str, str]:
    """The users that are not let in, and what they are told."""
    answers = await asyncio.gather(*(_enters(case, url, account, user) for account, user in case.users))
    return {user: answer for (_, user), answer in zip(case.users, answers, strict=True) if answer}
