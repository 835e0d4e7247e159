"""Everything that can fail about a new configuration, done beside the running one without touching it."""

from __future__ import annotations

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from auth.authenticate import Authenticator
from broker.config.validate import validate
from broker.reload.plan import ReloadPlan, plan_reload
from broker.settings import auth_settings
from tls.context import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from auth.standing import Standing
    from broker.config.options import Options

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that prepares hands the interpreter back to the loop that delivers."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that is checked and built, ready to take the place of the running one."""

    options: Options
    plan: ReloadPlan
    earlier: Authenticator
    """Whom the sessions of now were admitted by."""
    authenticator: Authenticator
    standing: Standing
    tls_context: ssl.SSLContext | None


def prepare(old: Options, new: Options, earlier: Authenticator) -> Prepared:
    """Checks and builds a configuration; may run in a thread.

    Raises ReloadError for what needs a restart, ConfigError, auth.settings.SettingsError and
    tls.policy.TLSSettingsError for what no server could start with.
    """
    validate(new)
    authenticator = Authenticator(auth_settings(new))
    # The files of certificates may hold others than before under the same names.
    context = None if new.tls is None else server_context(new.tls)
    plan = plan_reload(old, new)
    plan.check()
    return Prepared(new, plan, earlier, authenticator, authenticator.standing_since(earlier), context)


async def aside(work: Callable[[], ResultT]) -> ResultT:
    """Runs work in a thread of its own, which gives way to the loop in short intervals.

    Nothing is collected meanwhile: work that makes many objects would have all of them looked at, over and over, while
    the loop waits.
    """
    collects = gc.isenabled()
    gc.disable()
    executor = ThreadPoolExecutor(1, "natskeep-reload")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(min(interval, SWITCH_INTERVAL))
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        sys.setswitchinterval(interval)
        if collects:
            gc.enable()
        executor.shutdown(wait=False, cancel_futures=True)
