"""``prove isolated|matrix``: whether anything can get from one account to another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import click

from accounts.explain import links_of
from accounts.flow import TooManyWaysError, World
from accounts.prove import ASSUMPTIONS, Action, Isolation, Proof, Reach
from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.commands.policy import link_lines, moment
from tools.nsk.document import printed
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.matrix import Contact, draw
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.scene import SOURCE_FLAGS, Scene, load_scene
from tools.nsk.session import Session
from tools.nsk.verdicts import Contacting, IsolationResult, LabelledAccount, MatrixResult, contact_of, isolation


def _isolated(session: Session, flags: Flags) -> None:
    scene = load_scene(session, flags)
    one, other = map(scene.account, flags.arguments)
    if one == other:
        raise NskError("name two accounts: an account is not isolated from itself")
    try:
        found = Proof(scene.world).isolated(one, other)
    except TooManyWaysError as problem:
        raise NskError(str(problem)) from None
    if flags.boolean("json"):
        session.output.line(printed(isolation(scene.world, found)))
    else:
        session.output.write("".join(f"{printable(line)}\n" for line in _isolation_lines(scene, found)))
    if not found.is_isolated:
        raise click.exceptions.Exit(1)


def _isolation_lines(scene: Scene, found: Isolation) -> Iterator[str]:
    world = scene.world
    one, other = world.label(found.one), world.label(found.other)
    yield f"{one} and {other} are {'' if found.is_isolated else 'not '}isolated"
    for source, target, reach in ((one, other, found.there), (other, one, found.back)):
        yield ""
        if reach is None:
            yield f"nothing that a client of {source} publishes can reach a subscriber of {target}"
        else:
            yield from _reach_lines(world, source, target, reach)
    yield ""
    yield "taken for granted:"
    yield from (f"  - {assumption}" for assumption in ASSUMPTIONS)
    if found.ends_at is None:
        yield "  - the accounts stay as they are"
    else:
        yield f"  - the accounts stay as they are; at {moment(found.ends_at)} time alone changes what is in force"
    if scene.unusable:
        yield ""
        yield "left out, since no server would use them:"
        yield from (f"  - {reason}" for reason in scene.unusable)


def _reach_lines(world: World, source: str, target: str, reach: Reach) -> Iterator[str]:
    what = "what a client publishes" if reach.conversation is None else "what a client answers"
    can = "can" if reach.is_shown else "may"
    yield f"{what} in {source} {can} reach a subscriber of {target}:"
    for passage in reach.passages:
        yield f"  {' → '.join(world.label(name) for name in passage.accounts)}"
        yield from link_lines(links_of(world, passage.path), "    ")
    if not reach.is_shown:
        yield "  no example was found, yet it could not be excluded"
        return
    yield "  for example:"
    for number, action in enumerate(reach.script, 1):
        yield f"    {number}. {_told(world, action)}"


def _told(world: World, action: Action) -> str:
    """One action of an example, in words."""
    client = f"a client of {world.label(action.account)}"
    reply = f", with the reply subject {quote(action.reply)}" if action.reply else ""
    if action.verb == "listen":
        return f"{client} subscribes to {quote(action.subject)}"
    if action.verb == "publish":
        return f"{client} publishes to {quote(action.subject)}{reply}"
    return f"{client} answers{reply}"


def _matrix(session: Session, flags: Flags) -> None:
    scene = load_scene(session, flags)
    names = sorted(scene.world.accounts, key=lambda name: (scene.world.label(name), name))
    proof = Proof(scene.world)
    contacts: dict[tuple[int, int], Contact] = {}
    try:
        for row, column in permutations(range(len(names)), 2):
            contacts[row, column] = contact_of(proof.reach(names[row], names[column]))
    except TooManyWaysError as problem:
        raise NskError(str(problem)) from None
    labels = [printable(scene.world.label(name)) for name in names]
    if path := flags.text("svg"):
        _write(path, draw(labels, contacts))
    if flags.boolean("json"):
        session.output.line(printed(_matrix_result(names, labels, contacts, scene)))
    else:
        _show(session, labels, contacts, scene)
    if any(contact is not Contact.NOTHING for contact in contacts.values()):
        raise click.exceptions.Exit(1)


def _write(path: str, picture: str) -> None:
    try:
        Path(path).expanduser().write_text(picture, "utf-8")
    except OSError as problem:
        raise NskError(f"`{path}` cannot be written: {problem.strerror}") from None


def _show(session: Session, labels: list[str], contacts: dict[tuple[int, int], Contact], scene: Scene) -> None:
    table = Table("Who reaches whom", ("from", *labels))
    for row, label in enumerate(labels):
        marks = (contacts[row, column].value if row != column else "-" for column in range(len(labels)))
        table.row(label, *marks)
    session.output.write(table.render(), Channel.LISTING)
    for contact in Contact:
        session.output.line(f"  {contact.value}  {contact.meaning}", Channel.LISTING)
    for reason in scene.unusable:
        session.output.message(f"left out: {printable(reason)}")


def _matrix_result(
    names: list[str], labels: list[str], contacts: dict[tuple[int, int], Contact], scene: Scene
) -> MatrixResult:
    accounts = [LabelledAccount(name, label) for name, label in zip(names, labels, strict=True)]
    reaches = [
        Contacting(names[row], names[column], contact.name.lower())
        for (row, column), contact in contacts.items()
        if contact is not Contact.NOTHING
    ]
    return MatrixResult(accounts, reaches, list(ASSUMPTIONS), scene.world.ends_at, list(scene.unusable))


ISOLATED = Command(
    "isolated",
    "Prove that nothing published in either of two accounts can reach a subscriber of the other, or show what can.\n"
    "The exit code is 0 where they are isolated, 1 where they are not, and 2 where there is no answer.",
    _isolated,
    SOURCE_FLAGS,
    arguments=(2, 2),
    examples="    nsk prove isolated ACME GLOBEX\n    nsk prove isolated ACME GLOBEX --config server.conf --json",
    error_code=2,
    result=IsolationResult,
)
MATRIX = Command(
    "matrix",
    "Show for all accounts which others they reach.\n"
    "The exit code is 0 where all of them are isolated, 1 where some are not, and 2 where there is no answer.",
    _matrix,
    (*SOURCE_FLAGS, text("svg", "", "file for a picture")),
    examples="    nsk prove matrix --svg matrix.svg",
    error_code=2,
    result=MatrixResult,
)
