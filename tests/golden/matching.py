"""Compares what was recorded with what came out, where keys, seeds, times and paths differ from run to run.

Recorded text names such things by placeholders. A label such as ``<A1>`` stands for the same key wherever it occurs
in a scenario: the first match binds it.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from auth import envelope, jwt
from auth.envelope import JwtError
from auth.nkey import KeyPair, NKeyError, public_key_kind

_PLACEHOLDER = re.compile(
    r"<JWT (?P<token>\{.*\})>"
    r"|<seed of <(?P<seed>[^<>]+)>>"
    r"|<(?P<key>[OAUNCX](?:\d+|![^<>]+))>"
    r"|<(?P<now>NOW[^<>]*)>"
    r"|<(?P<word>HOME|JTI|NUID|HASH|RELATIVE|CLI|PORT|RTT|2)>"
)
_DATE = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: \+0000)? UTC"
    r"|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC|\d{10}"
)
_WORDS = {
    "JTI": r"[A-Z2-7]{52}",
    "HASH": r"[A-Z2-7]{52}====",
    "RELATIVE": r"(?i:in \d+ \w+|\d+ \w+ ago|now)",
    "NUID": r"[A-Za-z0-9]{22}",
    "CLI": r"ns[ck]",
    "RTT": r"[\d.]+[µmn]?s",
    "2": r"[A-Z2-7]{2}",
}
_BLANKS = re.compile(r" {2,}")
_OFFSET = re.compile(r"NOW(?:([+-]\d+)([mhdwMy]))?")
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "M": 30.5 * 86400, "y": 365.25 * 86400}
_SETS = {"signing_keys"}
"""Lists that are sorted by key, so that their order is another in every run."""
_SECONDS_LATE = 5.0
_CALENDAR = 2 * 86400.0


class Bindings:
    """What the placeholders of one scenario stand for, as far as it is known."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.keys: dict[str, str] = {}
        self.port = 0
        """Of the server that the scenario starts."""
        self._begin = time.time()

    def bind(self, label: str, key: str) -> bool:
        """Let a label stand for a key. False when either is taken or the key is of another kind."""
        kind = public_key_kind(key)
        if label in self.keys or key in self.keys.values():
            return self.keys.get(label) == key
        if kind is None or kind.value != label[0]:
            return False
        self.keys[label] = key
        return True

    def text(self, recorded: str, found: str) -> bool:
        """Whether a line, or any text, is what was recorded."""
        if any(name in recorded for name in ("<HOME>", "<RELATIVE>", "<NOW")):
            # Cells are padded to their width without regard to how long what a placeholder stands for was.
            recorded, found = _BLANKS.sub(" ", recorded), _BLANKS.sub(" ", found)
        pattern: list[str] = []
        wanted: list[re.Match[str]] = []
        end = 0
        for placeholder in _PLACEHOLDER.finditer(recorded):
            pattern.append(re.escape(recorded[end : placeholder.start()]))
            pattern.append(self._pattern(placeholder))
            wanted.append(placeholder)
            end = placeholder.end()
        pattern.append(re.escape(recorded[end:]))
        match = re.fullmatch("".join(pattern), found, re.DOTALL)
        if match is None:
            return False
        return all(self._holds(placeholder, value) for placeholder, value in zip(wanted, match.groups(), strict=True))

    def _pattern(self, placeholder: re.Match[str]) -> str:
        if placeholder["token"]:
            return r"([\w-]+\.[\w-]+\.[\w-]+)"
        if placeholder["seed"]:
            return r"(S[A-Z2-7]{57})"
        if placeholder["key"]:
            return (
                f"({re.escape(self.keys.get(placeholder['key'], ''))})"
                if placeholder["key"] in self.keys
                else (r"([OAUNCX][A-Z2-7]{55})")
            )
        if placeholder["now"]:
            return f"({_DATE})"
        word = placeholder["word"]
        if word == "PORT":
            return f"({self.port})"
        return f"({re.escape(self.home)})" if word == "HOME" else f"({_WORDS[word]})"

    def _holds(self, placeholder: re.Match[str], found: str) -> bool:
        if placeholder["token"]:
            return self.token(json.loads(placeholder["token"]), found)
        if placeholder["seed"]:
            try:
                return self.bind(placeholder["seed"], KeyPair.from_seed(found).public)
            except NKeyError:
                return False
        if placeholder["key"]:
            return self.bind(placeholder["key"], found)
        return not placeholder["now"] or self._is_time(placeholder["now"], _seconds(found))

    def _is_time(self, recorded: str, found: float) -> bool:
        offset = _OFFSET.fullmatch(recorded)
        assert offset is not None, recorded
        count, unit = offset.groups()
        distance = int(count) * _UNITS[unit] if count else 0.0
        tolerance = _CALENDAR if unit in ("M", "y") else _SECONDS_LATE
        return self._begin + distance - tolerance <= found <= time.time() + distance + tolerance

    def token(self, recorded: dict[str, Any], found: str) -> bool:
        """Whether a JWT holds the recorded claims, is signed by its issuer and has the id that its claims give."""
        try:
            payload = envelope.open_verified(found)
            identifier = jwt.token_id(jwt.decode(found))
        except JwtError:
            return recorded.get("signature") != "ok"
        if "jti" in payload and payload["jti"] != identifier:
            return False
        return recorded.get("signature") == "ok" and self.value(recorded["claims"], payload)

    def value(self, recorded: Any, found: Any) -> bool:
        """Whether a JSON value is what was recorded."""
        if isinstance(recorded, dict) and isinstance(found, dict):
            keys = {self.label(key): key for key in found}
            return set(recorded) == set(keys) and all(
                self._members(item, found[keys[name]]) if name in _SETS else self.value(item, found[keys[name]])
                for name, item in recorded.items()
            )
        if isinstance(recorded, list) and isinstance(found, list):
            return len(recorded) == len(found) and all(map(self.value, recorded, found))
        if isinstance(recorded, str) and recorded.startswith("<NOW") and isinstance(found, int):
            return self.text(recorded, str(found))
        if isinstance(recorded, str) and isinstance(found, str):
            return self.text(recorded, found)
        return type(recorded) is type(found) and bool(recorded == found)

    def _members(self, recorded: list[Any], found: list[Any]) -> bool:
        """Whether two lists hold the same, in any order."""
        rest = list(found)
        for item in recorded:
            match = next((other for other in rest if self.value(item, other)), None)
            if match is None:
                return False
            rest.remove(match)
        return not rest

    def label(self, key: str) -> str:
        """The placeholder of a known key, else the text itself."""
        return next((f"<{label}>" for label, known in self.keys.items() if known == key), key)

    def differences(self, recorded: list[str], found: list[str], *, ordered: bool = True) -> list[str]:
        """The lines that are missing or too many, marked with - and +."""
        if ordered and len(recorded) == len(found):
            pairs = list(zip(recorded, found, strict=True))
            wrong = [pair for pair in pairs if not self.text(*pair)]
            return [line for old, new in wrong for line in (f"- {old}", f"+ {new}")]
        rest = list(found)
        missing = []
        for line in recorded:
            match = next((other for other in rest if self.text(line, other)), None)
            if match is None:
                missing.append(f"- {line}")
            else:
                rest.remove(match)
        return [*missing, *(f"+ {line}" for line in rest)]


def _seconds(text: str) -> float:
    if text.isdigit():
        return float(text)
    if text.endswith("Z"):
        return datetime.fromisoformat(text).timestamp()
    form = "%a, %d %b %Y %H:%M:%S UTC" if "," in text else "%Y-%m-%d %H:%M:%S UTC"
    return datetime.strptime(text.replace(" +0000", ""), form).replace(tzinfo=UTC).timestamp()
