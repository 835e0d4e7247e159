"""What ``--interactive`` asks for each command, in nsc's order. A command that is not listed asks nothing.

A command begins by asking for its account where there are several, as far as it has that flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auth.claims import AccountClaims, Export, Import
from tools.nsk.asking import (
    Answers,
    Ask,
    Gate,
    Pick,
    PickSome,
    Put,
    Question,
    Repeat,
    Signer,
    Sure,
    Switch,
    Table,
    Text,
    When,
)
from tools.nsk.flags import Flag
from tools.nsk.names import random_name
from tools.nsk.session import Session
from tools.nsk.values import format_date


def _accounts(answers: Answers) -> list[str]:
    return answers.session.store.accounts()


def _users(answers: Answers) -> list[str]:
    return answers.session.store.users(answers.account())


def _claims(answers: Answers) -> AccountClaims:
    name = answers.value("name") if not answers.has("account") and answers.has("name") else ""
    return answers.session.store.account(answers.session.account_name(name) if name else answers.account())


def _operator_keys(answers: Answers) -> list[str]:
    return answers.session.store.operator_signers()


def _account_keys(answers: Answers) -> list[str]:
    return answers.session.store.account_signers(answers.session.store.account(answers.account()))


def _exports(answers: Answers) -> list[str]:
    return [item.subject for item in _claims(answers).nats.exports if isinstance(item, Export)]


def _export_labels(answers: Answers) -> list[str]:
    exports = [item for item in _claims(answers).nats.exports if isinstance(item, Export)]
    return [f"{item.subject} [{item.type}] {item.name}".rstrip() for item in exports]


def _private_exports(answers: Answers) -> list[str]:
    return [item.subject for item in _claims(answers).nats.exports if item is not None and item.token_required]


def _kind_exports(answers: Answers) -> list[str]:
    service = answers.value("service") == "true"
    return [item.subject for item in _claims(answers).nats.exports if item is not None and item.is_service is service]


def _imports(answers: Answers) -> list[str]:
    return [item.subject for item in _claims(answers).nats.imports if isinstance(item, Import)]


def _tags(answers: Answers) -> list[str]:
    if not answers.has("account") and not answers.has("name"):
        return answers.session.store.operator().nats.tags
    if answers.has("account"):
        return answers.session.store.user(answers.account(), answers.value("name")).nats.tags
    return _claims(answers).nats.tags


def _revoked(answers: Answers) -> list[str]:
    return sorted(_claims(answers).nats.revocations)


def _user_keys(answers: Answers) -> list[str]:
    store, account = answers.session.store, answers.account()
    return [f"{store.user(account, name).subject} {name}" for name in store.users(account)]


def _service_urls(answers: Answers) -> list[str]:
    return answers.session.store.operator().nats.operator_service_urls


def _operator_start(answers: Answers) -> str:
    return format_date(answers.session.store.operator().not_before)


def _operator_expiry(answers: Answers) -> str:
    return format_date(answers.session.store.operator().expires_at)


def _account_start(answers: Answers) -> str:
    return format_date(_claims(answers).not_before)


def _account_expiry(answers: Answers) -> str:
    return format_date(_claims(answers).expires_at)


def _user_start(answers: Answers) -> str:
    return format_date(answers.session.store.user(answers.account(), answers.value("name")).not_before)


def _user_expiry(answers: Answers) -> str:
    return format_date(answers.session.store.user(answers.account(), answers.value("name")).expires_at)


def _limit(field: str) -> Text:
    return lambda answers: str(getattr(_claims(answers).nats.limits, field))


_FROM, _UNTIL = "valid from", "valid until (0 is always)"
_TIMES: tuple[Question, ...] = (Ask("start", _FROM), Ask("expiry", _UNTIL))
_PICK_ACCOUNT = Pick("account", "select account", _accounts, "no accounts defined - add one first")
_NAMED_ACCOUNT = Pick("name", "select account", _accounts, "no accounts defined - add one first")
_PICK_USER = Pick("name", "select user", _users, "the account doesn't have any users - add one first")
_TOOL_USER = Pick("user", "select user", _users, "the account doesn't have any users - add one first")
_BY_OPERATOR = Signer("select the key to sign the account", _operator_keys)
_BY_ACCOUNT = Signer("select the key to sign the user", _account_keys)
_TAGS: tuple[Question, ...] = (
    When(
        lambda answers: bool(_tags(answers)),
        (Gate("remove tags", False, (PickSome("rm-tag", "select tags to remove", _tags),)),),
    ),
    Repeat("tag", "add a tags", "add another tags", "enter a tags"),
)
_SIGNING_KEYS = Repeat(
    "sk",
    "add a signing key",
    "add another signing key",
    "path to signing key nkey or nkey, or generate",
)
_LATENCY: tuple[Question, ...] = (
    Ask("sampling", "sampling percentage [1-100] or `header`", required=True),
    Ask("latency", "latency metrics subject", required=True),
)
_RESPONSE: tuple[Question, ...] = (
    Pick("response-type", "service response type", lambda _: ["Singleton", "Stream", "Chunked"]),
    Ask("response-threshold", "response threshold (0 disabled)"),
)
_AT = Ask("at", "revoke all credentials created before (0 is now, formats are RFC3339 or #seconds since epoch)")
_IS_SERVICE = Switch("service", "is service")


def _is_service(answers: Answers) -> bool:
    return answers.value("service") == "true"


def _is_managed(answers: Answers) -> bool:
    return answers.session.store.managed


def _tool() -> tuple[Question, ...]:
    return (_PICK_ACCOUNT, _TOOL_USER)


QUESTIONS: Table = {
    "init": (
        Ask("dir", "enter a configuration directory", default=lambda a: str(a.session.environment.default_store_root)),
        Ask("name", "name your operator, account and user", required=True, default=lambda _: random_name()),
    ),
    "add operator": (
        Gate(
            "import operator from a JWT",
            False,
            (Ask("url", "path or url for operator jwt", required=True),),
            (
                Ask("name", "operator name", required=True),
                *_TIMES,
                Switch("sys", "Generate system account?", default=True),
                Switch("generate-signing-key", "Generate signing key?", default=True),
            ),
        ),
    ),
    "add account": (
        Ask("name", "account name", required=True),
        Gate(
            "generate an account nkey",
            True,
            otherwise=(Ask("public-key", "path to an account nkey or nkey", required=True),),
        ),
        *_TIMES,
        _BY_OPERATOR,
    ),
    "add user": (
        _PICK_ACCOUNT,
        Ask("name", "user name", required=True),
        Gate("generate an user nkey", True, otherwise=(Ask("public-key", "path to an user nkey or nkey", True),)),
        *_TIMES,
        _BY_ACCOUNT,
    ),
    "add users": (
        _PICK_ACCOUNT,
        Gate(
            "read the users from a file",
            False,
            (Ask("from-csv", "file of comma-separated values", required=True),),
            (Ask("count", "how many users", required=True), Ask("prefix", "what their names begin with")),
        ),
        Ask("output-dir", "directory for copies of the creds files"),
        _BY_ACCOUNT,
    ),
    "add export": (
        _PICK_ACCOUNT,
        Gate("is the export a service, and no stream", False, (Put("service", "true"),)),
        Ask("subject", "subject", required=True),
        Ask("name", "name", default=lambda answers: answers.value("subject")),
        Switch("private", "private"),
        When(
            _is_service,
            (Gate("track service latency", False, _LATENCY), *_RESPONSE, Switch("allow-trace", "allow tracing")),
        ),
        _BY_OPERATOR,
    ),
    "add import": (
        _PICK_ACCOUNT,
        Gate(
            "is the import private, with an activation token",
            False,
            (Ask("token", "token file or url", required=True),),
            (
                Ask("src-account", "account that exports, by name or public key", required=True),
                Ask("remote-subject", "subject of the export", required=True),
                Switch("service", "is the export a service"),
            ),
        ),
        When(_is_service, (Switch("share", "share information when tracking latency?"),)),
        Ask("name", "name", default=lambda answers: answers.value("remote-subject")),
        Ask("local-subject", "local subject"),
        When(lambda answers: not _is_service(answers), (Switch("allow-trace", "allow tracing"),)),
        _BY_OPERATOR,
    ),
    "add mapping": (
        _PICK_ACCOUNT,
        Ask("from", "subject that is mapped", required=True),
        Ask("to", "subject that it is mapped to", required=True),
        Ask("weight", "weight in percent"),
        Ask("cluster", "cluster in which it holds"),
    ),
    "delete account": (
        _NAMED_ACCOUNT,
        Switch("revoke", "revoke all account users before deleting", default=True),
        Switch("rm-nkey", "delete associated account and user nkeys"),
        Switch("rm-creds", "delete associated user creds files"),
        When(
            _is_managed,
            (
                Sure("managed accounts may require the account JWT or nkeys to cancel a service - continue"),
                Put("force", "true"),
            ),
        ),
        Sure("deleting accounts, users, nkeys or creds files cannot be undone - continue"),
    ),
    "delete user": (
        _PICK_ACCOUNT,
        PickSome("name", "select users", _users, "the account doesn't have any users - add one first"),
        When(
            lambda answers: answers.session.output.compatible,
            (Switch("revoke", "revoke user before deleting", default=False),),
            (Switch("revoke", "revoke user before deleting", default=True),),
        ),
        Switch("rm-nkey", "delete associated nkey"),
        Switch("rm-creds", "delete associated creds file"),
        Sure("deleting a user, nkey or creds file cannot be undone - continue"),
        _BY_OPERATOR,
    ),
    "delete export": (
        _PICK_ACCOUNT,
        Pick("subject", "select export to delete", _export_labels, "the account doesn't have exports", always=True),
        Sure("deleting an export breaks those who import it - continue"),
        _BY_OPERATOR,
    ),
    "delete import": (
        _PICK_ACCOUNT,
        Pick("subject", "select import to delete", _imports, "the account doesn't have imports", always=True),
        _BY_OPERATOR,
    ),
    "delete mapping": (
        _PICK_ACCOUNT,
        Pick("from", "select mapping to delete", lambda a: sorted(_claims(a).nats.mappings), "there are no mappings"),
    ),
    "describe account": (_NAMED_ACCOUNT,),
    "describe jwt": (Ask("file", "token file or url", required=True),),
    "describe user": (_PICK_ACCOUNT, _PICK_USER),
    "edit account": (
        _NAMED_ACCOUNT,
        _SIGNING_KEYS,
        *(
            Ask(flag, f"{label} (-1 unlimited)", default=_limit(field))
            for flag, label, field in (
                ("conns", "max connections", "connections"),
                ("leaf-conns", "max leaf node connections", "leafnodes"),
                ("data", "max data", "data"),
                ("exports", "max exports", "exports"),
                ("imports", "max imports", "imports"),
                ("payload", "max payload", "payload"),
                ("subscriptions", "max subscriptions", "subscriptions"),
            )
        ),
        Ask("start", _FROM, default=_account_start),
        Ask("expiry", _UNTIL, default=_account_expiry),
        *_TAGS,
        _BY_OPERATOR,
        Ask("description", "Account Description", default=lambda answers: _claims(answers).nats.description),
        Ask("info-url", "Info url", default=lambda answers: _claims(answers).nats.info_url),
        Gate(
            "Enable context tracing?",
            False,
            (
                Ask("trace-context-subject", "Trace context subject?", required=True),
                Ask("trace-context-sampling", "Trace context sampling rate [1-100]"),
            ),
        ),
    ),
    "edit export": (
        _PICK_ACCOUNT,
        Pick("subject", "select export to edit", _export_labels, "the account doesn't have exports", always=True),
        Ask("name", "name"),
        Switch("private", "private"),
        Gate("track service latency", False, _LATENCY),
        Ask("description", "Export Description"),
        Ask("info-url", "Info url"),
        _BY_OPERATOR,
    ),
    "edit operator": (
        Ask("start", _FROM, default=_operator_start),
        Ask("expiry", _UNTIL, default=_operator_expiry),
        *_TAGS,
        Ask(
            "account-jwt-server-url",
            "account jwt server url",
            default=lambda answers: answers.session.store.operator().nats.account_server_url,
        ),
        Repeat("service-url", "add a service url", "add another service url", "operator service url"),
        When(
            lambda answers: bool(_service_urls(answers)),
            (
                Gate(
                    "remove any service urls",
                    False,
                    (PickSome("rm-service-url", "select service urls to remove", _service_urls),),
                ),
            ),
        ),
        Gate("Set system account", False, (Pick("system-account", "select account", _accounts),)),
        _SIGNING_KEYS,
    ),
    "edit user": (
        _PICK_ACCOUNT,
        _PICK_USER,
        _BY_ACCOUNT,
        Ask(
            "payload",
            "max payload (-1 unlimited)",
            default=lambda a: str(a.session.store.user(a.account(), a.value("name")).nats.payload),
        ),
        Ask("start", _FROM, default=_user_start),
        Ask("expiry", _UNTIL, default=_user_expiry),
        *_TAGS,
    ),
    "generate activation": (
        _PICK_ACCOUNT,
        Pick("subject", "select the export", _private_exports, "the account doesn't have private exports", always=True),
        Ask("target-account", "target-account public key", required=True),
        *_TIMES,
        _BY_OPERATOR,
    ),
    "generate context": (_PICK_ACCOUNT, _TOOL_USER, Ask("context", "context name", required=True)),
    "generate creds": (_PICK_ACCOUNT, _PICK_USER),
    "pull": (Gate("pull the operator and all accounts", True, (Put("all", "true"),), (_PICK_ACCOUNT,)),),
    "push": (
        When(lambda a: a.value("all") == "true" or a.value("prune") == "true", (), (_PICK_ACCOUNT,)),
        Ask("account-jwt-server-url", "Account Server URL or nats-resolver enabled nats-server URL"),
    ),
    "revocations add-user": (
        _PICK_ACCOUNT,
        When(
            lambda answers: bool(_users(answers)),
            (
                Gate(
                    "Revoke a user by name",
                    True,
                    (Pick("user-public-key", "select user to revoke", _user_keys, always=True),),
                    (Ask("user-public-key", "user public key or '*' to match any user", required=True),),
                ),
            ),
            (Ask("user-public-key", "user public key or '*' to match any user", required=True),),
        ),
        _AT,
        _BY_OPERATOR,
    ),
    "revocations delete-user": (
        _PICK_ACCOUNT,
        Pick("user-public-key", "select revoked user to clear", _revoked, always=True),
        _BY_OPERATOR,
    ),
    "revocations list-users": (_PICK_ACCOUNT,),
    "revocations add_activation": (
        _PICK_ACCOUNT,
        _IS_SERVICE,
        Pick("subject", "select export", _kind_exports, "the account doesn't have such exports", always=True),
        Ask("target-account", "target-account public key or '*' to match any account", required=True),
        _AT,
        _BY_OPERATOR,
    ),
    "revocations delete_activation": (
        _PICK_ACCOUNT,
        _IS_SERVICE,
        Pick("subject", "select export", _kind_exports, "the account doesn't have such exports", always=True),
        Ask("target-account", "target-account public key or '*' to match any account", required=True),
        _BY_OPERATOR,
    ),
    "revocations list_activations": (
        _PICK_ACCOUNT,
        _IS_SERVICE,
        Pick("subject", "select export", _kind_exports, "the account doesn't have such exports", always=True),
    ),
    **{f"{group}{name}": _tool() for group in ("tool ", "") for name in ("pub", "sub", "req", "reply", "rtt")},
    "validate": (When(lambda a: a.value("all-accounts") == "true" or bool(a.value("file")), (), (_PICK_ACCOUNT,)),),
}


def ask(
    words: str, session: Session, flags: Sequence[Flag], given: dict[str, Any], arguments: Sequence[str]
) -> list[str]:
    """Ask for the flags of the command; the answers go into ``given``. The arguments that are left.

    Raises NskError where nobody can be asked, and when the person does not go on.
    """
    answers = Answers(session, flags, given, arguments)
    for question in QUESTIONS.get(words, ()):
        question(answers)
    return answers.arguments
