"""Generic claims: any data under a signature, such as a request to delete accounts from a resolver."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from auth import envelope
from auth.claims.base import VERSION, Claims
from auth.envelope import JwtError

_REFUSED = {"cluster": "ClusterClaims are not supported", "server": "ServerClaims are not supported"}


class GenericClaims(Claims, omit_defaults=True, kw_only=True):
    """Claims whose ``nats`` section is free. Anyone may sign them for any subject."""

    nats: dict[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def new(cls, subject: str) -> GenericClaims:
        """Fresh claims without data."""
        return cls(subject=subject)

    @property
    def kind(self) -> str:
        """The ``type`` that the data names, or an empty text."""
        return str(self.nats.get("type", ""))

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        """Typed registered fields and free data. Raises JwtError."""
        top = dict(payload)
        if envelope.is_v1(top):
            data = top.get("nats", {})
            if isinstance(data, dict):
                top["nats"] = {**data, "type": top["type"], **({"tags": top["tags"]} if "tags" in top else {})}
        try:
            claims = msgspec.convert(top, cls)
        except msgspec.ValidationError as problem:
            raise JwtError(f"generic claim: {problem}") from None
        if refused := _REFUSED.get(claims.kind):
            raise JwtError(refused)
        return claims

    def normalise(self) -> None:
        """Data carry the version of the shape, as all claims do."""
        self.nats["version"] = VERSION
