"""``plan`` and ``apply``: what pushing would change, and pushing just that."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from auth.gojson import quote
from tools.nsk.cli import Answer, Command
from tools.nsk.commands.access import finish, without_usage
from tools.nsk.commands.push import (
    CONFIRM_FLAG,
    PUSH_FLAGS,
    ImportState,
    PushResult,
    Task,
    carry_out,
    check_task,
    connecting,
    push_access,
    read_task,
)
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags
from tools.nsk.output import Channel
from tools.nsk.plan import effective_imports, make_plan, plan_id
from tools.nsk.plan_model import Holdings, Plan, Wanted
from tools.nsk.plan_text import plan_lines
from tools.nsk.remote import PLAN_SUBJECTS, Access, connected, is_resolver_url
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.survey import holdings, holdings_over_http, refused_imports, strangers, wanted_of
from tools.nsk.tool import UnreachableError

_ID: Final = re.compile("[0-9a-f]{20}")

# Both sides.


def look(session: Session, access: Access, task: Task) -> tuple[Holdings, Wanted]:
    """What servers hold, and what is wanted of them. Raises NskError where they do not tell."""
    store = session.store
    wanted = wanted_of(store, task.names, removed=[task.remove] if task.remove else ())
    if not is_resolver_url(access.url):
        return holdings_over_http(store, access.url, wanted), wanted
    return asyncio.run(_look(session, access, task, wanted))


async def _look(session: Session, access: Access, task: Task, wanted: Wanted) -> tuple[Holdings, Wanted]:
    store = session.store
    async with connected(store, access, PLAN_SUBJECTS, name=f"{access.program}_plan") as remote:
        held = await holdings(remote, store, wanted)
        found = strangers(store, held) if task.prune or set(task.names) == set(store.accounts()) else {}
        if task.prune:
            # Which ones those are is known only now, and their connections are asked for besides.
            wanted = replace(wanted, removed=frozenset(found))
            held = await holdings(remote, store, wanted)
        else:
            wanted = replace(wanted, strangers={key: at for key, at in found.items() if key != task.remove})
    return held, wanted


class UntoldError(NskError):
    """Servers can be reached, and do not tell what a plan needs."""


def _planned(session: Session, access: Access, task: Task) -> Plan:
    try:
        held, wanted = look(session, access, task)
    except (StoreError, UnreachableError) as error:
        raise NskError(connecting(session, error)) from None
    except NskError as error:
        raise UntoldError(
            f"servers do not tell what they hold: {error.text} - push with --force does without"
        ) from None
    return make_plan(held, wanted, time.time(), url=access.url)


def _show(session: Session, plan: Plan, channel: Channel) -> None:
    session.output.write("".join(f"{line}\n" for line in plan_lines(plan)), channel)


# plan


def _plan(session: Session, flags: Flags) -> Answer:
    access = push_access(session, flags)
    task = check_task(session, read_task(session, flags, everything=True), access.url, force=True)
    with without_usage():
        plan = _planned(session, access, task)
    _show(session, plan, Channel.DATA)
    return Answer(plan, 1 if plan.breaks else 0)


# push, as nsk does it


def push_planned(
    session: Session, flags: Flags, access: Access, task: Task, wanted_id: str = ""
) -> Answer | PushResult:
    """Show what pushing would change, ask where something would break, push, and say which imports work then.

    Raises NskError for a stale plan, and where nobody agrees.
    """
    wanted_id = wanted_id or flags.text("plan")
    plan = _plan_unless_forced(session, flags, access, task)
    if plan is None:
        if wanted_id:
            raise NskError("servers do not tell what they hold, so no plan can be compared: push without --plan")
    else:
        _show(session, plan, Channel.MESSAGE)
        if wanted_id and wanted_id != plan.id:
            raise _stale(session, wanted_id, plan.id)
        _agree(session, flags, plan)
        # Asking takes its time.
        held, wanted = look(session, access, task)
        if plan_id(held, wanted) != plan.id:
            raise _stale(session, plan.id, plan_id(held, wanted))
        task = replace(task, pruned=wanted.removed)
    report = Report()
    result = replace(carry_out(session, access, task, report), plan=plan)
    if not report.failed and task.names:
        result = replace(result, imports=_effective(session, access, task, report))
    finish(session, report)
    return result if all(one.in_force for one in result.imports) else Answer(result, 1)


def _plan_unless_forced(session: Session, flags: Flags, access: Access, task: Task) -> Plan | None:
    try:
        return _planned(session, access, task)
    except UntoldError:
        if not flags.boolean("force"):
            raise
        session.output.message("servers do not tell what they hold: there is no plan")
        return None


def _stale(session: Session, old: str, new: str) -> NskError:
    program = session.output.program
    return NskError(
        f"plan {old} is stale: the store or the servers have changed since, and the plan is {new} now - "
        f"look at it with `{program} plan`; nothing was pushed",
        remedy=f"{program} plan shows what pushing would change now",
    )


def _agree(session: Session, flags: Flags, plan: Plan) -> None:
    if not plan.breaks or flags.boolean("yes"):
        return
    if session.output.structured or not sys.stdin.isatty():
        raise NskError(
            "something would break: look at the plan, and push with --yes; nothing was pushed",
            remedy="the lines with - before them would break: mend those, or push with --yes",
        )
    if not session.output.confirm("something would break - push nevertheless?"):
        raise NskError("nothing was pushed")


def _effective(session: Session, access: Access, task: Task, report: Report) -> list[ImportState]:
    """The imports of the pushed accounts as servers have them now."""
    try:
        held, refused = _looked_again(session, access, task)
    except NskError as error:
        report.warn(f"whether imports work cannot be told: {error.text}")
        return []
    publics = {session.store.account(name).subject: name for name in task.names}
    states = []
    for public, one in effective_imports(held, publics, time.time()):
        reason = one.reason
        if one.in_force and (public, one.kind, one.exporter, one.subject) in refused:
            reason = "a server says that it is not in force"
        states.append(
            ImportState(publics[public], one.kind, one.exporter, one.subject, one.local_subject, not reason, reason)
        )
    section = report.section("imports of the pushed accounts") if states else report
    for state in states:
        local = "" if state.local_subject == state.subject else f" as {state.local_subject}"
        what = f"{state.kind} import {state.subject}{local} of account {quote(state.account)}"
        if state.in_force:
            section.ok(f"{what} is in force")
        else:
            section.warn(f"{what} is not in force: {state.reason}")
    return states


def _looked_again(
    session: Session, access: Access, task: Task
) -> tuple[Holdings, frozenset[tuple[str, str, str, str]]]:
    """What servers hold after all was pushed, and which imports they themselves say are not in force."""
    only = Task(task.names)
    held, wanted = look(session, access, only)
    if not is_resolver_url(access.url):
        return held, frozenset()
    return held, asyncio.run(_ask_imports(session, access, wanted))


async def _ask_imports(session: Session, access: Access, wanted: Wanted) -> frozenset[tuple[str, str, str, str]]:
    async with connected(session.store, access, PLAN_SUBJECTS, name=f"{access.program}_plan") as remote:
        return frozenset(await refused_imports(remote, wanted.tokens))


# apply


def _apply(session: Session, flags: Flags) -> Answer | PushResult:
    access = push_access(session, flags)
    (given,) = flags.arguments
    path = session.environment.absolute(given)
    if path.is_file():
        wanted_id, task = _read_plan(session, path)
    else:
        if not _ID.fullmatch(given):
            raise NskError(
                f"{quote(given)} is neither the id of a plan nor a file",
                remedy="nsk plan shows the plan and its id; nsk plan --json prints what apply reads from a file",
            )
        wanted_id, task = given, read_task(session, flags, everything=True)
    task = check_task(session, task, access.url, force=flags.boolean("force"))
    with without_usage():
        return push_planned(session, flags, access, task, wanted_id)


def _read_plan(session: Session, path: Path) -> tuple[str, Task]:
    """The id and the accounts of a plan that ``plan --json`` printed into a file. Raises NskError."""
    unreadable = NskError(f"`{path}` holds no plan: print one with `{session.output.program} plan --json`")
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        plan = document.get("result") or document
        names, removed = tuple(map(str, plan["push"])), tuple(map(str, plan["remove"]))
        wanted_id = str(plan["id"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise unreadable from None
    if len(removed) > 1 or not names:
        return wanted_id, Task(names, prune=bool(removed))
    return wanted_id, Task(names, remove=removed[0] if removed else "")


_OWN = {"diff"}
_FLAGS = tuple(flag for flag in PUSH_FLAGS if flag.long.removeprefix("--") not in _OWN)

PLAN = Command(
    "plan",
    "Show what pushing accounts would change on the running servers: what users could do more or less, which imports\n"
    "would work, whose connections and credentials would cease to.\n"
    "The exit code is 0 where nothing would break, 1 where something would, and 2 where that cannot be told.",
    _plan,
    tuple(flag for flag in _FLAGS if flag.long != "--force"),
    examples="    nsk plan\n    nsk plan --account SHOP\n    nsk plan --json > plan.json && nsk apply plan.json",
    error_code=2,
    result=Plan,
)
APPLY = Command(
    "apply",
    "Push what a plan shows, and nothing else: a plan by its id, or a file that nsk plan --json printed.",
    _apply,
    (*_FLAGS, CONFIRM_FLAG),
    arguments=(1, 1),
    examples="    nsk apply 1f2e3d4c5b6a79880f1e\n    nsk apply plan.json --yes",
    result=PushResult,
)
