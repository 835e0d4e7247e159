"""An operator with an account and a user for a server under test: change the claims, then start it."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import Any

from auth import jwt
from auth.claims import AccountClaims, ActivationClaims, OperatorClaims, UserClaims
from auth.nkey import KeyKind, KeyPair
from broker.app import Server
from broker.config.options import OperatorOptions, Options, ResolverOptions
from tests.support.serving import Client


@dataclass
class Realm:
    """Keys of one operator, one account and one user, and what their tokens say."""

    operator_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.OPERATOR))
    account_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.ACCOUNT))
    user_key: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.USER))
    issued_at: int = field(default_factory=lambda: int(time.time()) - 100)

    def __post_init__(self) -> None:
        self.operator = OperatorClaims.new(self.operator_key.public)
        self.account = AccountClaims.new(self.account_key.public)
        self.user = UserClaims.new(self.user_key.public)
        self.operator.name, self.account.name, self.user.name = "op", "ACME", "bob"

    def options(self, *others: Realm, **changes: Any) -> Options:
        """Options of a server that trusts the operator and knows the account; ``others`` hold further accounts."""
        operator = jwt.encode(self.operator, self.operator_key, issued_at=self.issued_at)
        return Options(
            operators=(OperatorOptions(operator),),
            resolver=ResolverOptions(),
            resolver_preload={one.account_key.public: one.account_token() for one in (self, *others)},
            **{"max_control_line": 8192} | changes,
        )

    def neighbour(self, name: str) -> Realm:
        """Another account under the same operator, with a user of its own."""
        realm = Realm(operator_key=self.operator_key, issued_at=self.issued_at)
        realm.account.name = name
        return realm

    def account_token(self) -> str:
        """The account's token as the claims stand."""
        return jwt.encode(self.account, self.operator_key, issued_at=self.issued_at)

    def activation(self, importer: Realm, subject: str, kind: str = "stream", **claims: Any) -> str:
        """A token of this account that lets another one import."""
        made = ActivationClaims.new(importer.account_key.public)
        made.nats.import_subject, made.nats.kind = subject, kind
        for name, value in claims.items():
            setattr(made, name, value)
        return jwt.encode(made, self.account_key, issued_at=self.issued_at)

    def token(self) -> str:
        """The user's token as the claims stand."""
        return jwt.encode(self.user, self.account_key, issued_at=self.issued_at)

    def proof(self, client: Client, *, signed: bool = True) -> dict[str, str]:
        """The fields of CONNECT that prove who the user is."""
        fields = {"jwt": self.token()}
        if signed:
            signature = self.user_key.sign(client.info["nonce"].encode())
            fields["sig"] = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        return fields

    async def attempt(self, server: Server, *, signed: bool = True, **options: Any) -> Client:
        """A client that has sent CONNECT and PING, whatever comes of it."""
        client = await Client.open(server)
        await client.greeting()
        await client.introduce(**self.proof(client, signed=signed), **options)
        return client

    async def connect(self, server: Server, **options: Any) -> Client:
        """A client that was admitted."""
        client = await self.attempt(server, **options)
        assert await client.frame() == b"PONG"
        return client
