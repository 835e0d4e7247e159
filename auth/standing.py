"""What two settings have in common for those who are connected, so that a change looks only at the others."""

from __future__ import annotations

from dataclasses import dataclass

from auth.principal import Method, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Users and accounts that mean the same under the settings of before and of now, wherever they are declared.

    ``users`` are names and nkeys of the configuration, ``accounts`` names. ``single``, ``token`` and ``sentinel`` say
    whether these credentials are the same, ``nobody`` whether neither settings ask for any, ``hidden`` whether both let
    clients without credentials in as nobody in particular.
    """

    users: frozenset[str]
    accounts: frozenset[str]
    single: str
    token: bool
    sentinel: bool
    nobody: bool
    hidden: bool

    def holds(self, principal: Principal) -> bool:
        """Whether nothing has changed for a principal; never certain of a certificate or a local process, which any
        user may claim, nor of whom somebody else admitted."""
        if principal.account.name not in self.accounts:
            return False
        match principal.method:
            case Method.NONE:
                return self.nobody
            case Method.TOKEN:
                return self.token
            case Method.JWT:
                return True
            case Method.SENTINEL:
                return self.sentinel
            case Method.CERTIFICATE | Method.UNIX_PEER | Method.CALLOUT | Method.AUTHENTICATOR:
                return False
            case Method.NO_AUTH_USER:
                return self.hidden or principal.user in self.users
        return principal.user in self.users or bool(self.single and principal.user == self.single)
