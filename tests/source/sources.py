"""The files of the project as the source tests see them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("accounts", "auth", "tls", "broker", "tools")
_GENERATED = {".venv", "build", "dist", "natskeep-demo", "node_modules"}


def python_files(*packages: str) -> list[Path]:
    """Every Python file of the packages, all of them by default."""
    return sorted(path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py"))


def core_files() -> list[Path]:
    """The sources of the compiled core."""
    return sorted(path for pattern in ("*.pyx", "*.pxd") for path in (ROOT / "broker" / "core").glob(pattern))


def documents() -> list[Path]:
    """Every Markdown file that belongs to the project."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(part in _GENERATED or part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))
