"""Which keys of adapter dictionaries code reads, tests, writes and drops; loaders and converters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from lorascale_lint.facts.terms import Attr, Call, Const, Event, Guard, Item, Loc, Op, Term, each_term
from lorascale_lint.model.file_readers import reads_tensors
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project
from lorascale_lint.model.vocabulary import key_role

_LITERAL_TESTS = frozenset(
    "replace endswith startswith removesuffix removeprefix split rsplit partition rpartition find".split()
)
_STORES = frozenset(["get", "pop", "setdefault"])


@dataclass(frozen=True, slots=True, eq=False)
class KeyUse:
    """One use of a literal key or key part. ``role`` is ``A``, ``B`` or ``alpha``."""

    how: Literal["read", "write", "test"]
    role: str
    pattern: str
    loc: Loc
    event: Event
    container: Term | None


@dataclass(frozen=True, slots=True, eq=False)
class KeyTraffic:
    """All uses of adapter keys in one function, and where it reads files."""

    function: Function
    uses: tuple[KeyUse, ...]
    files_read: tuple[Event, ...]

    def roles(self, *how: str) -> frozenset[str]:
        """Roles of the keys used in one of the given ways."""
        return frozenset(use.role for use in self.uses if use.how in how)

    def patterns(self, how: str) -> tuple[str, ...]:
        """Distinct key patterns used in the given way, in order."""
        return tuple(dict.fromkeys(use.pattern for use in self.uses if use.how == how))


def key_traffic(function: Function) -> KeyTraffic:
    """The adapter keys that ``function`` uses, in source order, each place once."""
    uses: dict[tuple[Loc, str, str], KeyUse] = {}
    files: dict[Loc, Event] = {}
    for event in function.events("write"):
        if isinstance(event.target, Item):
            for use in _use("write", event.target.key, event.target.base, event):
                uses.setdefault((use.loc, use.how, use.pattern), use)
    written = {id(event.target) for event in function.events("write") if not event.sign}
    for event, term in each_term(function.facts.events):
        if id(term) in written:
            continue
        for use in _term_uses(event, term):
            uses.setdefault((use.loc, use.how, use.pattern), use)
        if reads_tensors(term):
            files.setdefault(term.loc, event)
    ordered = sorted(uses.values(), key=lambda use: (use.loc.row, use.loc.column))
    return KeyTraffic(function, tuple(ordered), tuple(files.values()))


def _term_uses(event: Event, term: Term) -> Iterator[KeyUse]:
    match term:
        case Item(base=base, key=key):
            yield from _use("read", key, base, event)
        case Call(func=Attr(base=base, name=name), args=args) if args and name in _STORES:
            yield from _use("read", args[0], base, event)
        case Call(func=Attr(name=name), args=args) if args and name in _LITERAL_TESTS:
            yield from _use("test", args[0], None, event)
        case Op(sign="in" | "not in" | "==" | "!=", left=left, right=right):
            yield from _use("test", left, right, event)
            if isinstance(right, Const):
                yield from _use("test", right, left, event)
        case _:
            pass


def _use(
    how: Literal["read", "write", "test"], key: Term, container: Term | None, event: Event
) -> Iterator[KeyUse]:
    pattern = key_pattern(key)
    role = key_role(pattern)
    if role is not None:
        yield KeyUse(how, role, pattern, key.loc, event, container)


def guarded_role(guards: Iterable[Guard]) -> str | None:
    """Role of the keys that reach a place under ``if ".alpha" in key`` or ``key.endswith(".alpha")``."""
    for guard in guards:
        match guard.test:
            case Op(sign="in", left=Const(value=str() as text)) if guard.holds:
                role = key_role(text)
            case Call(func=Attr(name="endswith"), args=(Const(value=str() as text),)) if guard.holds:
                role = key_role(text)
            case _:
                continue
        if role is not None:
            return role
    return None


def alpha_mentions(project: Project, function: Function, depth: int = 3) -> tuple[tuple[Function, str], ...]:
    """Literal alpha keys in ``function`` and what it calls: the function that has each, and its text."""
    return tuple(
        (current, word)
        for current in project.reachable(function, depth)
        for word in sorted(current.facts.words)
        if _is_literal(word) and "alpha" in word.lower() and " " not in word
    )


def _is_literal(word: str) -> bool:
    """`FunctionFacts.words` keeps the quotes of string literals; f-string parts have none but a dot."""
    return word[-1:] in "\"'" or word.startswith(".")
