"""Builds the compiled extensions; everything else stands in pyproject.toml."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = (
    "outbox", "sublist", "transform", "mapping", "message", "meter", "plan", "exchange", "parser", "unframer",
    "records", "log", "intake", "feed", "lookup",
)

BESIDE = ("broker.jetstream.snapshot.highway",)
"""What is compiled though it is not of the core: a hash that no library has."""


class BuildCore(build_ext):
    """Says in one sentence what is missing when there is no C compiler."""

    def build_extensions(self) -> None:
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        if shutil.which(compiler) is None and shutil.which("cc") is None and shutil.which("gcc") is None:
            sys.exit(
                "natskeep needs a C compiler to build its message path and found none: "
                "install one (on Debian or Ubuntu: apt-get install build-essential) and run the command again."
            )
        super().build_extensions()


def extensions() -> list[Extension]:
    return [
        Extension(
            name,
            [str(Path(*name.split("."))) + ".pyx"],
            extra_compile_args=["-O3", "-fno-strict-aliasing"],
        )
        for name in [*(f"broker.core.{name}" for name in CORE), *BESIDE]
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": False,
            "binding": True,
        },
    ),
    cmdclass={"build_ext": BuildCore},
)
