"""Subjects of the system account: what is published there, and what can be asked."""

from __future__ import annotations

from typing import Final

from accounts.subject import SINGLE, tokens
from accounts.system import EVERYBODY, OWN_STATISTICS, SUBSCRIBERS, user_of

AUTH_ERROR_IN_ACCOUNT: Final = "$SYS.ACCOUNT.CLIENT.AUTH.ERR"
"""Published inside the account of whoever could not authenticate."""

OF_SERVERS: Final = (
    "IDZ", "STATSZ", "VARZ", "SUBSZ", "CONNZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ", "JSZ", "HEALTHZ", "PROFILEZ",
    "EXPVARZ", "IPQUEUESZ", "RAFTZ",
)
"""What is asked of one server or of all."""

OF_ONE_SERVER: Final = ("RELOAD", "KICK", "LDM", "ROTATE", "SHRED")
"""What is asked of one server only; natskeep's own are those of the keys of accounts, ROTATE and SHRED."""

CLAIMS_UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
CLAIMS_LIST: Final = "$SYS.REQ.CLAIMS.LIST"
CLAIMS_DELETE: Final = "$SYS.REQ.CLAIMS.DELETE"
CLAIMS_PACK: Final = "$SYS.REQ.CLAIMS.PACK"
"""What is asked of servers that keep the JWTs of accounts."""

PACK_RESPONDERS: Final = "responder"
"""The queue group of those that answer with all JWTs that they have."""

OF_ACCOUNTS: Final = ("SUBSZ", "CONNZ", "LEAFZ", "JSZ", "INFO", "STATZ", "CONNS")
"""What is asked about one account."""


def services(server: str) -> dict[str, tuple[str, ...]]:
    """Every service by a short name, with the subjects that it answers on a server of that id."""
    asked: dict[str, tuple[str, ...]] = {
        f"SERVER.{name}": (of_server(server, name), of_server(EVERYBODY, name)) for name in OF_SERVERS
    }
    # The oldest form of the question.
    asked["SERVER.STATSZ"] += (f"$SYS.REQ.SERVER.{EVERYBODY}",)
    asked |= {f"SERVER.{name}": (of_server(server, name),) for name in OF_ONE_SERVER}
    asked |= {f"ACCOUNT.{name}": (of_account(SINGLE, name),) for name in OF_ACCOUNTS}
    return asked | {
        "ACCOUNT.PING.STATZ": (OWN_STATISTICS,),
        "USER.INFO": (user_of(SINGLE),),
        "SUBSCRIBERS": (SUBSCRIBERS,),
        "SUBSCRIPTION COUNT": ("$SYS.REQ.ACCOUNT.NSUBS",),
        "CLAIMS.UPDATE": ("$SYS.ACCOUNT.*.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE"),
    }


def claims_services(*, keeps_all: bool) -> dict[str, tuple[str, ...]]:
    """What a server answers besides that keeps the JWTs of accounts, all of them or those in use."""
    asked: dict[str, tuple[str, ...]] = {
        "CLAIMS.UPDATE ANY": (CLAIMS_UPDATE,),
        "CLAIMS.LIST": (CLAIMS_LIST,),
        "CLAIMS.DELETE": (CLAIMS_DELETE,),
    }
    if keeps_all:
        asked |= {"CLAIMS.LOOKUP": (claims_lookup(SINGLE),), "CLAIMS.PACK": (CLAIMS_PACK,)}
    return asked


def claims_lookup(account: str) -> str:
    """Where servers are asked for the JWT of an account."""
    return of_account(account, "CLAIMS.LOOKUP")


def inbox(server: str, name: str) -> str:
    """Where a server takes answers."""
    return f"$SYS._INBOX.{server}.{name}"


def connect(account: str) -> str:
    """A client was let in."""
    return f"$SYS.ACCOUNT.{account}.CONNECT"


def disconnect(account: str) -> str:
    """A client is gone."""
    return f"$SYS.ACCOUNT.{account}.DISCONNECT"


def connections(account: str) -> tuple[str, str]:
    """How many clients an account has: the old form and the new."""
    return f"$SYS.SERVER.ACCOUNT.{account}.CONNS", f"$SYS.ACCOUNT.{account}.SERVER.CONNS"


def audit(server: str) -> str:
    """The audit ledger cannot be written, or can be again; natskeep's own."""
    return f"$SYS.SERVER.{server}.AUDIT"


def peer_link_invalid(server: str) -> str:
    """A certificate in the chain of a peer was refused by OCSP."""
    return f"$SYS.SERVER.{server}.OCSP.PEER.LINK.INVALID"


def peer_rejected(server: str) -> str:
    """A peer was refused by OCSP."""
    return f"$SYS.SERVER.{server}.OCSP.PEER.CONN.REJECT"


def certificate(server: str) -> str:
    """A listener's certificate was renewed, could not be, or ends; natskeep's own."""
    return f"$SYS.SERVER.{server}.CERTIFICATE"


def auth_error(server: str) -> str:
    """A client could not authenticate."""
    return f"$SYS.SERVER.{server}.CLIENT.AUTH.ERR"


def statistics(server: str) -> str:
    """What a server does, told from time to time."""
    return f"$SYS.SERVER.{server}.STATSZ"


def shutdown(server: str) -> str:
    """A server ends."""
    return f"$SYS.SERVER.{server}.SHUTDOWN"


def lame_duck(server: str) -> str:
    """A server is about to end."""
    return f"$SYS.SERVER.{server}.LAMEDUCK"


def of_server(server: str, service: str) -> str:
    """What is asked of one server, or of all under the name PING."""
    return f"$SYS.REQ.SERVER.{server}.{service}"


def of_account(account: str, service: str) -> str:
    """What is asked about one account."""
    return f"$SYS.REQ.ACCOUNT.{account}.{service}"


def account_in(subject: str) -> str:
    """The account that the subject of a request names; in the oldest form the third token, else the fourth."""
    parts = tokens(subject)
    return parts[2] if parts[1] == "ACCOUNT" else parts[3]
