"""The table of commands: what there is, in words, and where each is written. Nothing else is imported here."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import click

from tools.nsk.cli import Group, Member
from tools.nsk.errors import NskError
from tools.nsk.flags import boolean, text

_VERSION = boolean("version", "v", "version for nsk")

DESCRIBE_FLAGS = (
    boolean("json", "J", "display JWT body as JSON"),
    text("field", "F", "extract value from specified field using json structure"),
    boolean("raw", "R", "output the raw JWT (exclusive of long-ids)"),
    boolean("long-ids", "W", "display account ids on imports"),
)
LIST_FLAGS = (boolean("json", "J", "describe as JSON"),)
TOOL_FLAGS = (
    text("nats", "", "nats url, defaults to the operator's service URLs"),
    text("creds", "", "credentials file, instead of an account and user of the store", beyond=True),
    text("ca-cert", "", "ca certificate file for tls connections"),
    text("ca", "", "the same as --ca-cert", beyond=True),
    text("client-cert", "", "client certificate file for tls connections"),
    text("client-key", "", "client key file for tls connections"),
    boolean("tls-first", "", "use tls-first when connecting to the nats server"),
    text(
        "tls-curves", "", "comma-separated TLS curve preferences (e.g. P256,P384,P521); defaults to Go's TLS defaults"
    ),
    text("timeout", "", "how long to wait for a connection or a reply (#ms, #s, #m)", default="5s", beyond=True),
)

PKI_FLAGS = (text("dir", "", "directory of the PKI, pki beside the stores unless given"),)


class _Root(Group):
    """The tool itself."""

    def _usage_lines(self, ctx: click.Context) -> str:
        return f"  {ctx.command_path} [flags]\n{super()._usage_lines(ctx)}"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if ctx.params["version"]:
            click.echo(f"{ctx.command_path} version {installed_version()}")
            ctx.exit()
        return rest

    def unknown_command(self, ctx: click.Context, name: str) -> None:
        if ctx.params["help"]:
            super().unknown_command(ctx, name)
        program = ctx.command_path
        spelled: Any = import_module("tools.nsk.spelling")
        similar = spelled.similar(name, (other for other in self.shown(ctx) if other != "help"))
        meant = "".join(f"\t{other}\n" for other in similar)
        advice = f"\n\nDid you mean this?\n{meant}\n" if similar else "\n"
        raise NskError(f'unknown command "{name}" for "{program}"{advice}Run \'{program} --help\' for usage.')


def installed_version() -> str:
    """The version of natskeep that this tool belongs to, or unknown where it was not installed."""
    # Slow to import, and needed here only.
    metadata: Any = import_module("importlib.metadata")
    try:
        return str(metadata.version("natskeep"))
    except metadata.PackageNotFoundError:
        return "unknown"


_TOOLS = {
    "pub": Member("Publish to a subject from a NATS account", "tool:PUB"),
    "reply": Member("Reply to requests on a subject on a NATS account", "tool:REPLY"),
    "req": Member("Send a request to a subject on a NATS account", "tool:REQ"),
    "rtt": Member("Calculate the round trip time to the server", "tool:RTT"),
    "sub": Member("Subscribe to a subject on a NATS account", "tool:SUB"),
}

_JETSTREAM = {
    "consumer": Group(
        "consumer",
        "Consumers of streams: add, look, take messages, pause, remove",
        {
            "add": Member("Add a consumer to a stream", "consumers:ADD"),
            "info": Member("Show a consumer, and where it stands", "consumers:INFO"),
            "ls": Member("List the consumers of a stream", "consumers:LIST"),
            "next": Member("Take messages from a consumer", "consumers:NEXT"),
            "pause": Member("Let a consumer deliver nothing until a time", "consumers:PAUSE"),
            "resume": Member("Let a paused consumer deliver again", "consumers:RESUME"),
            "rm": Member("Remove a consumer", "consumers:REMOVE"),
        },
        TOOL_FLAGS,
        beyond=True,
    ),
    "kv": Group(
        "kv",
        "Buckets of values: add, look, get, put, watch, remove",
        {
            "add": Member("Add a bucket of values", "keyvalue:ADD"),
            "create": Member("Give a key a value if it has none", "keyvalue:CREATE"),
            "del": Member("Delete a key; its history stays", "keyvalue:DELETE"),
            "get": Member("Show the value of a key", "keyvalue:GET"),
            "history": Member("Show what a key had", "keyvalue:HISTORY"),
            "info": Member("Show a bucket", "keyvalue:INFO"),
            "ls": Member("List the buckets of the account, or the keys of one", "keyvalue:LIST"),
            "purge": Member("Delete a key with its history", "keyvalue:PURGE"),
            "put": Member("Give a key a value", "keyvalue:PUT_VALUE"),
            "rm": Member("Remove a bucket", "keyvalue:REMOVE"),
            "update": Member("Give a key a value if nobody else has since", "keyvalue:UPDATE"),
            "watch": Member("Show what keys have, and what comes", "keyvalue:WATCH"),
        },
        TOOL_FLAGS,
        beyond=True,
    ),
    "object": Group(
        "object",
        "Object stores: add, look, put and get files, remove",
        {
            "add": Member("Add an object store", "objects:ADD"),
            "del": Member("Delete an object", "objects:DELETE"),
            "get": Member("Get an object", "objects:GET"),
            "info": Member("Show an object store, or one object", "objects:INFO"),
            "ls": Member("List the object stores of the account, or the objects of one", "objects:LIST"),
            "put": Member("Put a file into an object store", "objects:PUT"),
            "rm": Member("Remove an object store", "objects:REMOVE"),
        },
        TOOL_FLAGS,
        beyond=True,
    ),
    "stream": Group(
        "stream",
        "Streams: add, change, look, read, purge, back up, restore, remove",
        {
            "add": Member("Add a stream", "streams:ADD"),
            "backup": Member("Write a stream to a directory", "archives:BACKUP"),
            "edit": Member("Change a stream", "streams:EDIT"),
            "get": Member("Show one message of a stream", "streams:GET"),
            "info": Member("Show a stream, and what it holds", "streams:INFO"),
            "ls": Member("List the streams of the account", "streams:LIST"),
            "purge": Member("Remove messages from a stream", "streams:PURGE"),
            "restore": Member("Make a stream of a backup", "archives:RESTORE"),
            "rm": Member("Remove a stream with its messages and consumers", "streams:REMOVE"),
            "view": Member("Show messages of a stream", "streams:VIEW"),
        },
        TOOL_FLAGS,
        beyond=True,
    ),
}

# Early versions of nsc had the tools at the top.
_ALIASES = {name: replace(member, hidden=True) for name, member in _TOOLS.items()}

_SECTIONS = {
    "Begin": ("init", "env", "select", "load"),
    "Look": ("list", "describe", "expirations", "validate", "doctor"),
    "Make and change": ("add", "edit", "delete", "revocations", "generate"),
    "Keys and backups": ("keys", "export", "import", "restore", "rotate", "reissue", "leaked"),
    "Certificates": ("pki",),
    "Running servers": ("push", "pull", "plan", "apply", "tool", "shred"),
    "Questions and proofs": ("can-i", "explain", "prove", "audit"),
    "This tool": ("help", "completion", "update"),
}

ROOT = _Root(
    "nsk",
    "nsk creates NATS operators, accounts, users, and manage their permissions.",
    {
        "add": Group(
            "add",
            "Add assets such as operators, accounts, imports/exports, users, mappings",
            {
                "account": Member("Add an account", "account:ADD"),
                "export": Member("Add an export", "exports:ADD"),
                "import": Member("Add an import", "imports:ADD"),
                "mapping": Member("Add (or modify) a mapping entry", "mapping:ADD"),
                "operator": Member("Add an operator", "operator:ADD"),
                "user": Member("Add an user to the account", "user:ADD"),
                "users": Member("Add many users to the account", "users:ADD", beyond=True),
            },
            aliases=("create",),
        ),
        "apply": Member("Push what a plan shows, and nothing else", "plan:APPLY", beyond=True),
        "audit": Group(
            "audit",
            "Read a server's ledger of security events, and prove that it is whole",
            {
                "query": Member("Show the entries of a ledger that fit", "audit:QUERY"),
                "receipt": Member("Prove what `nsk shred` destroyed and when", "shred:RECEIPT"),
                "tail": Member("Show the last entries of a ledger, and new ones as they come", "audit:TAIL"),
                "verify": Member("Prove that nobody has changed a ledger", "audit:VERIFY"),
            },
            beyond=True,
        ),
        "can-i": Member("Tell whether a user may publish or subscribe to a subject", "policy:CAN_I", beyond=True),
        "completion": Group(
            "completion",
            "Generate the autocompletion script for the specified shell",
            {
                "bash": Member("Generate the autocompletion script for bash", "completion:BASH"),
                "fish": Member("Generate the autocompletion script for fish", "completion:FISH"),
                "powershell": Member("Generate the autocompletion script for powershell", "completion:POWERSHELL"),
                "zsh": Member("Generate the autocompletion script for zsh", "completion:ZSH"),
            },
            introduction="Generate the autocompletion script for nsk for the specified shell.\n"
            "See each sub-command's help for details on how to use the generated script.",
        ),
        "delete": Group(
            "delete",
            "Delete assets such as accounts/users, imports/exports, mappings",
            {
                "account": Member("Delete an account and associated users", "account:DELETE"),
                "export": Member("Delete an export", "exports:DELETE"),
                "import": Member("Delete an import", "imports:DELETE"),
                "mapping": Member("Delete a mapping", "mapping:DELETE"),
                "user": Member("Delete an user", "user:DELETE"),
            },
        ),
        "describe": Group(
            "describe",
            "Describe assets such as operators, accounts, users, and jwt files",
            {
                "account": Member("Describes an account by name or public nkey", "describe:ACCOUNT"),
                "jwt": Member("Describe a jwt/creds file", "describe:JWT"),
                "operator": Member("Describes the operator by name or public nkey", "describe:OPERATOR"),
                "user": Member("Describes a user by name or public nkey", "describe:USER"),
            },
            DESCRIBE_FLAGS,
        ),
        "doctor": Member("Look for what is wrong, and say how to mend it", "doctor:DOCTOR", beyond=True),
        "edit": Group(
            "edit",
            "Edit assets such as operators, accounts, users, exports, scoped signing keys, "
            "and account auth callout configuration",
            {
                "account": Member("Edit an account", "account:EDIT"),
                "authcallout": Member("Edit an account authorization callout", "authcallout:EDIT"),
                "export": Member("Edit an export", "exports:EDIT"),
                "operator": Member("Edit the operator", "operator:EDIT"),
                "signing-key": Member(
                    "Edit a scoped signing key or promote a signing key to be scoped", "signing_key:EDIT"
                ),
                "user": Member("Edit an user", "user:EDIT"),
            },
        ),
        "env": Member("Prints and manage the nsc environment", "env:ENV"),
        "explain": Member(
            "Explain why a user may publish or subscribe to a subject, or may not", "policy:EXPLAIN", beyond=True
        ),
        "expirations": Member("Create a new expiration report", "expirations:EXPIRATIONS"),
        "export": Group(
            "export",
            "Export assets such as nkeys",
            {
                "keys": Member(
                    "Export operator, account and user keys in the current operator and account context",
                    "export_keys:EXPORT",
                ),
            },
        ),
        "fix": Member(
            "rebuilds a project tree from jwts, nk and cred files found in the input directories",
            "fix:FIX",
            hidden=True,
        ),
        "generate": Group(
            "generate",
            "Generate activations, nats-cli contexts, credential files, configs, nkeys and diagrams",
            {
                "activation": Member("Generate an export activation jwt token", "activation:GENERATE"),
                "config": Member("Generate an account config file for an operator", "generate:CONFIG"),
                "context": Member("Generate nats cli user context", "context:CONTEXT"),
                "creds": Member("Generate a credentials file for an user", "generate:CREDS"),
                "diagram": Group(
                    "diagram",
                    "Generate diagrams for this store",
                    {
                        "component": Member(
                            "Generate a plantuml component diagram for this store", "diagram:COMPONENT"
                        ),
                        "object": Member("Generate a plantuml object diagram for this store", "diagram:OBJECT"),
                    },
                ),
                "nkey": Member("Generates an nkey", "generate:NKEY"),
                "profile": Member("Generate a profile from nsc 'URL' that can be used by tooling", "profile:PROFILE"),
            },
        ),
        "help": Member("Help about any command", "help:HELP"),
        "import": Group(
            "import",
            "Import accounts, users or nkeys",
            {
                "account": Member(
                    "Imports an account from a jwt file and resign with operator if self signed",
                    "import_assets:ACCOUNT",
                ),
                "keys": Member("Imports all nkeys found in a directory", "import_assets:KEYS"),
                "user": Member("Imports an user from a jwt or user and nkey from a creds file", "import_assets:USER"),
            },
        ),
        "init": Member("Initialize an environment by creating an operator, account and user", "init:INIT"),
        "keys": Group(
            "keys",
            "Manage keys for operators, accounts, and users",
            {
                "migrate": Member(
                    "migrates keystore to new layout, original keystore is preserved", "keystore:MIGRATE"
                ),
            },
        ),
        "leaked": Member("Deal with a credentials file that others may have", "leaked:LEAKED", beyond=True),
        "list": Group(
            "list",
            "List assets such as operators, accounts, users and keys",
            {
                "accounts": Member("List accounts", "list:ACCOUNTS", ("account",)),
                "keys": Member(
                    "List operator, account and user keys in the current operator and account context",
                    "keys:LIST",
                    ("key",),
                ),
                "operators": Member("List operators", "list:OPERATORS", ("operator",)),
                "users": Member("List users", "list:USERS", ("user",)),
            },
            LIST_FLAGS,
        ),
        "pki": Group(
            "pki",
            "Make a CA, and certificates for servers and clients",
            {
                "client": Member("Issue a certificate for a client", "pki:CLIENT"),
                "crl": Member("Write what is revoked anew", "pki_revocations:CRL"),
                "describe": Member("Show what a certificate says", "pki_look:DESCRIBE"),
                "init": Member("Make a CA", "pki:INIT"),
                "list": Member("Show the certificates that there are", "pki_look:LIST"),
                "renew": Member("Make certificates anew before they end", "pki:RENEW"),
                "revoke": Member("Revoke certificates", "pki_revocations:REVOKE"),
                "server": Member("Issue a certificate for a server", "pki:SERVER"),
            },
            PKI_FLAGS,
            beyond=True,
        ),
        "plan": Member("Show what pushing accounts would change on the running servers", "plan:PLAN", beyond=True),
        "load": Member("load entities for an operator, account and keys", "load:LOAD"),
        "migrate": Member("Migrate an account to the current operator", "migrate:MIGRATE", hidden=True),
        "prove": Group(
            "prove",
            "Prove that accounts are isolated, or show how something gets from one to another",
            {
                "isolated": Member("Prove that two accounts are isolated", "prove:ISOLATED"),
                "matrix": Member("Show which accounts reach which others", "prove:MATRIX"),
            },
            beyond=True,
        ),
        "pull": Member(
            "Pull an operator or account jwt replacing the local jwt with the server's version", "pull:PULL"
        ),
        "push": Member("Push an account jwt to an Account JWT Server", "push:PUSH"),
        "reissue": Group(
            "reissue",
            "Re-issue objects with a new identity key",
            {
                "operator": Member(
                    "Re-issues the operator with a new identity and re-signs affected accounts.\n"
                    "\tWhen `--private-key` flag is provided with an operator seed, the identity\n"
                    "\tspecified will be used for the operator and as the issuer for the accounts.\n"
                    "\tNote use of this command could create a disruption. Please backup your server\n"
                    "\tand nsc environment prior to use.",
                    "reissue:OPERATOR",
                ),
            },
        ),
        "rename": Group(
            "rename",
            "Rename operator, account or user",
            {"account": Member("Rename an account", "rename:ACCOUNT")},
            hidden=True,
        ),
        "restore": Member(
            "Restore operators, accounts, users and keys from a backup or an export", "restore:RESTORE", beyond=True
        ),
        "revocations": Group(
            "revocations",
            "Manage revocation for users and activations from an account",
            {
                "add-user": Member("Revoke a user", "revocations:ADD_USER", ("add_user",)),
                "add_activation": Member(
                    "Revoke an accounts access to an export", "activation_revocations:ADD", ("add-activation",)
                ),
                "delete-user": Member("Remove a user revocation", "revocations:DELETE_USER", ("delete_user",)),
                "delete_activation": Member(
                    "Remove an account revocation from an export",
                    "activation_revocations:DELETE",
                    ("delete-activation",),
                ),
                "list-users": Member("List users revoked in an account", "revocations:LIST_USERS", ("list_users",)),
                "list_activations": Member(
                    "List account revocations for an export", "activation_revocations:LIST", ("list-activations",)
                ),
            },
        ),
        "rotate": Group(
            "rotate",
            "Replace keys by new ones, step by step and without a lost message",
            {
                "account": Member("Give an account other signing keys, or another identity", "rotate:ACCOUNT"),
                "continue": Member("Go on with rotations", "rotate:CONTINUE"),
                "data-key": Member("Give an account another data key on a server", "shred:DATA_KEY"),
                "operator": Member("Give the operator another signing key, or another identity", "rotate:OPERATOR"),
                "retire": Member("Retire the old key of rotations now", "rotate:RETIRE"),
                "signing-key": Member("Replace one signing key of an account", "rotate:SIGNING_KEY"),
                "status": Member("Show the rotations under way, and who still uses the old keys", "rotate:STATUS"),
                "user": Member("Give a user another key", "rotate:USER"),
            },
            beyond=True,
        ),
        "select": Group(
            "select",
            "Set the current operator or account",
            {
                "account": Member("set the account", "select:ACCOUNT"),
                "operator": Member("set the operator", "select:OPERATOR"),
            },
        ),
        "shred": Member("Destroy the key of an account on a server, and so all its data", "shred:SHRED", beyond=True),
        "test": Group(
            "test",
            "Test commands",
            {
                "doc": Member("generate markdown documentation in the specified directory", "test:DOC"),
                "flags": Member("prints a table with all the flags", "test:FLAGS"),
                "nkey": Member("Generates an nkey", "generate:NKEY"),
                "whoflag": Member("prints a table with commands using the specified flag", "test:WHOFLAG"),
            },
            hidden=True,
        ),
        "tool": Group(
            "tool",
            "NATS tools: pub, sub, req, reply, rtt",
            {**_TOOLS, **_JETSTREAM},
            TOOL_FLAGS,
        ),
        "__complete": Member("Answer what a shell asks", "completion:COMPLETE", hidden=True),
        **_ALIASES,
        "update": Member("Update this tool to latest version", "upgrade:UPDATE"),
        "upgrade-jwt": Member("Update jwt w", "upgrade:UPGRADE_JWT", hidden=True),
        "validate": Member("Validate an operator, account(s), and users", "validate:VALIDATE"),
    },
    (_VERSION,),
    sections=_SECTIONS,
)
