"""The kinds of questions that ``--interactive`` asks, each about one flag or several of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tools.nsk.errors import NskError
from tools.nsk.flags import BOOLEAN, Flag
from tools.nsk.prompts import Check, Prompter
from tools.nsk.session import Session


class Answers:
    """The flags of one invocation while they are asked for: what was given, and what was answered."""

    def __init__(
        self, session: Session, flags: Sequence[Flag], given: dict[str, Any], arguments: Sequence[str]
    ) -> None:
        self.session = session
        self.arguments = list(arguments)
        self._flags = {flag.long.removeprefix("--"): flag for flag in flags}
        self._given = given

    @cached_property
    def prompter(self) -> Prompter:
        """Who asks, once something is to be asked. Raises NskError where nobody can be."""
        return Prompter()

    def has(self, name: str) -> bool:
        """Whether the command has a flag of that name."""
        return name in self._flags

    def is_given(self, name: str) -> bool:
        """Whether a flag has a value."""
        return self._given.get(self._flags[name].name or "") not in (None, ())

    def value(self, name: str) -> str:
        """The value that a flag has so far, as it is typed; what stands for it otherwise."""
        flag = self._flags[name]
        if name == "name" and self.arguments and not self.is_given(name):
            return self.arguments[0]
        value = self._given.get(flag.name or "") if self.is_given(name) else flag.value_when_absent
        if flag.multiple:
            return ",".join(entry for entries in value or () for entry in entries)
        if flag.type is BOOLEAN:
            return "true" if value else "false"
        return "" if value is None else str(value)

    def check(self, name: str) -> Check:
        """What refuses texts that the flag does not take."""
        flag = self._flags[name]
        return lambda typed: flag.type.convert(typed, flag, None)

    def put(self, name: str, *typed: str) -> None:
        """Give a flag a value, or a list several."""
        flag = self._flags[name]
        values = [flag.type.convert(text, flag, None) for text in typed]
        self._given[flag.name or ""] = tuple(values) if flag.multiple else values[0]
        if name == "name":
            self.arguments.clear()

    def account(self) -> str:
        """The account that is worked on. Raises StoreError."""
        return self.session.account_name(self.value("account") if self.has("account") else "")


Choices = Callable[[Answers], list[str]]
Text = Callable[[Answers], str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A text for a flag. An empty answer leaves the flag out, unless it is ``required``."""

    flag: str
    label: str
    required: bool = False
    default: Text | None = None

    def __call__(self, answers: Answers) -> None:
        convert = answers.check(self.flag)

        def check(typed: str) -> None:
            if typed:
                convert(typed)
            elif self.required:
                raise NskError(f"{self.label} is required")

        found = answers.value(self.flag)
        default = found if self.default is None or answers.is_given(self.flag) else self.default(answers)
        typed = answers.prompter.text(self.label, default, check)
        if typed and (typed != default or answers.is_given(self.flag) or self.required):
            answers.put(self.flag, typed)


@dataclass(frozen=True, slots=True)
class Switch:
    """Yes or no for a flag."""

    flag: str
    label: str
    default: bool | None = None

    def __call__(self, answers: Answers) -> None:
        found = answers.value(self.flag) == "true"
        start = found if self.default is None or answers.is_given(self.flag) else self.default
        chosen = answers.prompter.confirm(self.label, start)
        if chosen != found or answers.is_given(self.flag) or self.default is not None:
            answers.put(self.flag, "true" if chosen else "false")


@dataclass(frozen=True, slots=True)
class Pick:
    """One of the things that there are. It is not asked when there is one alone; ``nothing`` says what to do first."""

    flag: str
    label: str
    choices: Choices
    nothing: str = ""
    always: bool = False

    def __call__(self, answers: Answers) -> None:
        choices = self.choices(answers)
        if not choices:
            if self.nothing:
                raise NskError(self.nothing)
            return
        if len(choices) == 1 and not self.always:
            answers.put(self.flag, choices[0])
            return
        found = answers.value(self.flag)
        start = found or answers.session.environment.account if self.flag == "account" else found
        answers.put(self.flag, answers.prompter.select(self.label, choices, start).partition(" ")[0])


@dataclass(frozen=True, slots=True)
class PickSome:
    """Any number of the things that there are."""

    flag: str
    label: str
    choices: Choices
    nothing: str = ""

    def __call__(self, answers: Answers) -> None:
        choices = self.choices(answers)
        if not choices and self.nothing:
            raise NskError(self.nothing)
        chosen = answers.prompter.select_some(self.label, choices) if choices else []
        if chosen:
            answers.put(self.flag, *(f'"{entry}"' if "," in entry else entry for entry in chosen))


@dataclass(frozen=True, slots=True)
class Gate:
    """Questions that are asked after a yes, and others after a no; both answers together stand for no flag."""

    label: str
    default: bool
    then: tuple[Question, ...] = ()
    otherwise: tuple[Question, ...] = ()

    def __call__(self, answers: Answers) -> None:
        for question in self.then if answers.prompter.confirm(self.label, self.default) else self.otherwise:
            question(answers)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Entries of a list, one after the other, as long as there are more."""

    flag: str
    first: str
    more: str
    label: str
    default: bool = False

    def __call__(self, answers: Answers) -> None:
        entries = [answers.value(self.flag)] if answers.is_given(self.flag) else []
        while answers.prompter.confirm(self.more if entries else self.first, self.default):
            entries.append(answers.prompter.text(self.label, "", answers.check(self.flag)))
        if entries:
            answers.put(self.flag, *entries)


@dataclass(frozen=True, slots=True)
class Sure:
    """A last question before what cannot be undone."""

    label: str
    needed: Callable[[Answers], bool] = field(default=lambda answers: True)

    def __call__(self, answers: Answers) -> None:
        if self.needed(answers) and not answers.prompter.confirm(self.label, False):
            raise NskError("delete cancelled", remedy="nothing was done")


@dataclass(frozen=True, slots=True)
class When:
    """Questions that depend on what was answered before."""

    condition: Callable[[Answers], bool]
    then: tuple[Question, ...]
    otherwise: tuple[Question, ...] = ()

    def __call__(self, answers: Answers) -> None:
        for question in self.then if self.condition(answers) else self.otherwise:
            question(answers)


@dataclass(frozen=True, slots=True)
class Put:
    """A flag that an earlier answer decides."""

    flag: str
    value: str

    def __call__(self, answers: Answers) -> None:
        answers.put(self.flag, self.value)


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs, where several could; ``candidates`` are public keys in the order of preference."""

    label: str
    candidates: Choices

    def __call__(self, answers: Answers) -> None:
        if answers.session.private_key:
            return
        stored = [key for key in self.candidates(answers) if answers.session.keystore.has_key(key)]
        if len(stored) > 1:
            answers.session.private_key = answers.prompter.select(self.label, stored, stored[0])


Question = Ask | Switch | Pick | PickSome | Gate | Repeat | Sure | When | Put | Signer
Table = Mapping[str, tuple[Question, ...]]
