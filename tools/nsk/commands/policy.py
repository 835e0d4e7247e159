"""``can-i`` and ``explain``: what a user may do, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from accounts.explain import (
    Explanation,
    Link,
    Receiver,
    Who,
    explain_publish,
    explain_reply,
    explain_subscribe,
)
from accounts.flow import TooManyWaysError, World
from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.denials import Denial, find_denial
from tools.nsk.document import printed
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, text
from tools.nsk.render import printable
from tools.nsk.scene import SOURCE_FLAGS, WHO_FLAGS, RefusedError, Scene, load_scene, load_user
from tools.nsk.session import Session
from tools.nsk.subjects import shell_hint
from tools.nsk.verdicts import Verdict, verdict

_PUBLISH = ("publish", "pub")
_SUBSCRIBE = ("subscribe", "sub")
_QUEUE = text("queue", "q", "queue group of the subscription")


def _can_i(session: Session, flags: Flags) -> None:
    explanation, _, place = _answer(session, flags)
    if flags.boolean("json"):
        session.output.line(printed(verdict(explanation, place)))
    else:
        session.output.line(printable(f"{_verdict(explanation)}: {explanation.reason}"))
    _end(explanation)


def _explain(session: Session, flags: Flags) -> None:
    explanation, scene, place = _denied(session, flags) if flags.text("denial") else _answer(session, flags)
    if flags.boolean("json"):
        session.output.line(printed(verdict(explanation, place)))
    else:
        session.output.write("".join(f"{printable(line)}\n" for line in _lines(explanation, scene, place)))
    _end(explanation)


def _end(explanation: Explanation) -> None:
    if not explanation.allowed:
        raise click.exceptions.Exit(1)


def _answer(session: Session, flags: Flags) -> tuple[Explanation, Scene, str]:
    """The answer to what the arguments ask, and where the user's rules are written."""
    if len(flags.arguments) < 2:
        raise NskError("say what, and on which subject: publish SUBJECT, or subscribe SUBJECT [QUEUE]", show_usage=True)
    action, subject, *rest = flags.arguments
    queue = flags.text("queue") or (rest[0] if rest else None)
    if action not in (*_PUBLISH, *_SUBSCRIBE):
        raise NskError(f"a user can publish or subscribe, not {quote(action)}", show_usage=True)
    if queue is not None and action in _PUBLISH:
        raise NskError("only a subscription can have a queue", show_usage=True)
    scene = load_scene(session, flags)
    try:
        who = load_user(session, flags, scene)
    except RefusedError as problem:
        return _refused(f"{action} {quote(subject)}", str(problem)), scene, ""
    try:
        if action in _PUBLISH:
            return explain_publish(scene.world, who, subject), scene, who.place
        return explain_subscribe(scene.world, who, subject, queue), scene, who.place
    except TooManyWaysError as problem:
        raise NskError(str(problem)) from None
    except ValueError as problem:
        raise NskError(f"{problem}{shell_hint(subject)}") from None


def _refused(question: str, reason: str) -> Explanation:
    return Explanation(question, False, f"no server admits the user: {reason}", None, (), None)


# A denial of the log.


def _denied(session: Session, flags: Flags) -> tuple[Explanation, Scene, str]:
    """The answer to what a server once refused, as things are now."""
    path = flags.text("log")
    if not path:
        raise NskError("name the server's log with --log", show_usage=True)
    try:
        with Path(path).expanduser().open(encoding="utf-8", errors="surrogateescape") as lines:
            denial = find_denial(lines, flags.text("denial"))
    except OSError as problem:
        raise NskError(f"`{path}` cannot be read: {problem.strerror}") from None
    scene = load_scene(session, flags)
    if denial.action == "connect":
        return _refused("connect", denial.reason), scene, ""
    try:
        who = _who_was_denied(session, flags, scene, denial)
    except RefusedError as problem:
        return _refused(f"{denial.action} {quote(denial.subject)}", str(problem)), scene, ""
    return _explained(scene.world, who, denial), scene, who.place


def _explained(world: World, who: Who, denial: Denial) -> Explanation:
    """Mappings were applied before the refusal, so the subject is past them."""
    if denial.action == "reply":
        return explain_reply(who, denial.subject)
    try:
        if denial.action == "publish":
            return explain_publish(world, who, denial.subject, is_mapped=True)
        return explain_subscribe(world, who, denial.subject, denial.queue)
    except ValueError as problem:
        raise NskError(str(problem)) from None


def _who_was_denied(session: Session, flags: Flags, scene: Scene, denial: Denial) -> Who:
    if flags.given("creds", "user", "name"):
        return load_user(session, flags, scene)
    if not denial.user:
        raise NskError("the log does not name the user; name it with --user, --name or --creds")
    if flags.text("config"):
        return scene.user_of_configuration(denial.user)
    store = session.store
    account = store.account_with_key(denial.account)
    for name in store.users(account) if account else ():
        try:
            if store.user(account or "", name).subject == denial.user:
                return scene.user_of_token(store.user_token(account or "", name))
        except StoreError:
            continue
    raise NskError(f"the store has no user {denial.user} of account {denial.account}; name its file with --creds")


# Words.


def _verdict(explanation: Explanation) -> str:
    return "allowed" if explanation.allowed else "denied"


def _lines(explanation: Explanation, scene: Scene, place: str) -> Iterator[str]:
    yield f"{explanation.question}: {_verdict(explanation)}"
    yield f"  {explanation.reason}"
    yield ""
    yield from link_lines(explanation.chain)
    if explanation.receivers:
        yield ""
        yield "would be received by subscribers of"
        yield from _ways(explanation.receivers, scene)
    if explanation.allowed and explanation.question.startswith("subscribe"):
        yield ""
        yield "would hear what is published to"
        yield from _ways(explanation.senders, scene)
        for rule in explanation.filtered:
            yield f"  but nothing that {rule} concerns"
    yield ""
    if explanation.change is None:
        yield "no change of the user's rules and limits turns this"
    else:
        turned = "deny" if explanation.allowed else "allow"
        yield f"to {turned} it: {explanation.change.text(place)}"


def link_lines(links: Iterable[Link], indent: str = "  ") -> Iterator[str]:
    """A chain, one link a line."""
    for link in links:
        origin = f"  ({link.origin})" if link.origin else ""
        yield f"{indent}{link.what:<12} {link.text}{origin}"


def _ways(receivers: Iterable[Receiver], scene: Scene) -> Iterator[str]:
    for receiver in receivers:
        until = "" if receiver.ends_at is None else f" until {moment(receiver.ends_at)}"
        yield f"  {receiver.subject}  in {scene.world.label(receiver.account)}{until}"
        yield from link_lines(receiver.links, "    ")


def moment(seconds: float) -> str:
    """A time in Unix seconds, to be read."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


_EXAMPLES = """\
    nsk {verb} publish orders.new --account SHOP --user web
    nsk {verb} subscribe 'orders.>' --queue workers --creds web.creds
    nsk {verb} publish orders.new --config server.conf --name web"""

CAN_I = Command(
    "can-i",
    "Tell whether a user may publish or subscribe to a subject.\n"
    "The exit code is 0 for yes, 1 for no, and 2 where there is no answer.",
    _can_i,
    (*SOURCE_FLAGS, *WHO_FLAGS, _QUEUE),
    arguments=(0, 3),
    examples=_EXAMPLES.format(verb="can-i"),
    error_code=2,
    result=Verdict,
)
EXPLAIN = Command(
    "explain",
    "Explain why a user may publish or subscribe to a subject, or may not: the rule that decides, who would\n"
    "receive it, and what to change for another answer.\n"
    "The exit code is 0 for allowed, 1 for denied, and 2 where there is no answer.",
    _explain,
    (
        *SOURCE_FLAGS,
        *WHO_FLAGS,
        _QUEUE,
        text("denial", "", "id of a denial in the server's log, instead of a question"),
        text("log", "", "the server's log"),
    ),
    arguments=(0, 3),
    examples=_EXAMPLES.format(verb="explain") + "\n    nsk explain --denial 1f2e3d4c --log natskeep.log",
    error_code=2,
    result=Verdict,
)
