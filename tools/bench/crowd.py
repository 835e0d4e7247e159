"""A configuration of very many users in very many accounts, and who they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many accounts with so many users each, who share the permissions of the account or have each their own."""

    accounts: int
    users: int
    own_permissions: bool = False

    def config(self, listen: str, *, is_changed: bool = False) -> str:
        """The text of the file. ``is_changed`` gives the last user of each account another password."""
        lines = [f'listen: "{listen}"', "accounts: {"]
        for account in range(self.accounts):
            name = tenant(account)
            subjects = f'"{name}.>", "_INBOX.>"'
            shared = "" if self.own_permissions else f" default_permissions: {_permissions(subjects)}"
            lines += [f"  {name}: {{{shared}", "    users: ["]
            for number in range(self.users):
                secret = password(account, number) + "-changed" * (is_changed and number == self.users - 1)
                own = ""
                if self.own_permissions:
                    own = f', permissions: {_permissions(subjects, f"{name}.private.{number}")}'
                lines.append(f'      {{ user: "{user(account, number)}", password: "{secret}"{own} }}')
            lines.append("    ] }")
        return "\n".join([*lines, "}"]) + "\n"


def tenant(account: int) -> str:
    """The name of an account, and the first token of its subjects."""
    return f"tenant{account:04d}"


def user(account: int, number: int) -> str:
    """The name of a user."""
    return f"{tenant(account)}-{number}"


def password(account: int, number: int) -> str:
    """The user's password, before it is changed."""
    return f"secret-{account}-{number}"


def _permissions(subjects: str, denied: str = "") -> str:
    lists = f"{{ allow: [{subjects}], deny: [\"{denied}\"] }}" if denied else f"[{subjects}]"
    return f"{{ publish: {lists}, subscribe: {lists} }}"
