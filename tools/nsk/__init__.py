"""nsk, the account tool: operators, accounts, users and their keys, on the same store on disk as nsc.

``Store`` is the Python API that the commands themselves use; it is imported on first use, so that the
command line starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.nsk.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> object:
    if name == "Store":
        return import_module("tools.nsk.store").Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
