"""Terms: what an expression computes, written over parameters, attributes and names.

A term is immutable and compared by identity, because terms share sub-terms (a variable used
twice is one object); structural equality over such a graph would be exponential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lorascale_lint.sources.loc import NOWHERE as NOWHERE, Loc as Loc

DEPTH_LIMIT = 80
"""Deeper terms are cut to `Opaque`, so that every reader may recurse."""


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A literal number, string, boolean, None or Ellipsis (as the string kind does not matter)."""

    value: None | bool | int | float | str
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name that the function does not bind: module level, imported or builtin."""

    name: str
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """A parameter of the function ``function`` (qualified name inside the file)."""

    function: str
    name: str
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Attr:
    """``base.name``."""

    base: Term
    name: str
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """``base[key]``; a slice or an extended index has an `Opaque` key."""

    base: Term
    key: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """``func(*args, **keywords)``; ``spread`` says that ``*`` or ``**`` arguments were dropped."""

    func: Term
    args: tuple[Term, ...]
    keywords: tuple[tuple[str, Term], ...] = ()
    spread: bool = False
    loc: Loc = NOWHERE

    def argument(self, position: int, name: str) -> Term | None:
        """The argument given by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return next((term for key, term in self.keywords if key == name), None)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A binary operation, named by its sign: ``+ - * / // % ** @``; comparisons ``== != < in is`` too."""

    sign: str
    left: Term
    right: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Not:
    """``not operand``."""

    operand: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Negative:
    """``-operand``."""

    operand: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """``and`` / ``or`` over two operands."""

    sign: str
    left: Term
    right: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """``then`` if ``test`` else ``other``: a conditional expression or the join of two branches.

    ``test`` is None where the branch is not a condition (loop bodies, exception handlers).
    """

    test: Term | None
    then: Term
    other: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """Some element of ``source``: a loop or comprehension variable."""

    source: Term
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A tuple, list or set display; a comprehension has one element, ``repeated``, made under ``guards``."""

    items: tuple[Term, ...]
    repeated: bool = False
    loc: Loc = NOWHERE
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A dict display, or a comprehension with one pair, which is made under ``guards``."""

    pairs: tuple[tuple[Term, Term], ...]
    loc: Loc = NOWHERE
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """An f-string: literal and computed parts in order."""

    parts: tuple[Term, ...]
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """A function or lambda defined in this file, by qualified name."""

    function: str
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Something this analysis does not model."""

    loc: Loc = NOWHERE


Term: TypeAlias = (
    Const
    | Global
    | Param
    | Attr
    | Item
    | Call
    | Op
    | Not
    | Negative
    | Logic
    | Choice
    | Element
    | Sequence
    | Mapping
    | Text
    | Local
    | Opaque
)


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A condition that holds (or does not) where an event happens.

    ``required`` says that the function goes no other way: an assertion, or a raise otherwise.
    """

    test: Term
    holds: bool
    required: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something a function does at a place, under its guards.

    ``row`` and ``end_row`` are those of the statement. ``kind`` is one of

    - ``write``: ``target`` (an `Attr`, `Item`, or the old value of a rebound name for augmented
      assignment) gets ``value``; ``sign`` is the operator of an augmented assignment, else empty
    - ``bind``: a local name, in ``name``, gets ``value``
    - ``return``, ``raise``, ``call``, ``test``: ``value`` is the term concerned
    """

    kind: str
    value: Term
    guards: tuple[Guard, ...]
    loc: Loc
    row: int
    end_row: int
    target: Term | None = None
    sign: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """A parameter of a function; ``kind`` is ``plain``, ``keyword``, ``args`` or ``kwargs``."""

    name: str
    kind: str
    default: Term | None
    annotation: str
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class FunctionFacts:
    """What one function does. ``words`` are all identifiers and string literals in it."""

    qualname: str
    class_name: str
    parameters: tuple[Parameter, ...]
    decorators: tuple[str, ...]
    events: tuple[Event, ...]
    words: frozenset[str]
    loc: Loc

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.qualname.rpartition(".")[2]


@dataclass(frozen=True, slots=True, eq=False)
class ClassAttribute:
    """``name: annotation = value`` in a class body."""

    name: str
    value: Term | None
    annotation: str
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class ClassFacts:
    """One class: its bases as terms, its attributes and the names of its methods."""

    name: str
    bases: tuple[Term, ...]
    attributes: tuple[ClassAttribute, ...]
    methods: tuple[str, ...]
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class Unread:
    """A part of a file that these facts leave out, or another reason to doubt them; shown with every run."""

    message: str
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class FileFacts:
    """All that the linker needs to know of one file; ``stars`` are the modules whose names it imports all."""

    imports: dict[str, str] = field(default_factory=dict)
    classes: tuple[ClassFacts, ...] = ()
    functions: tuple[FunctionFacts, ...] = ()
    stars: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def children(term: Term) -> tuple[Term, ...]:
    """Direct sub-terms, in evaluation order."""
    parts = _PARTS.get(type(term))
    return () if parts is None else parts(term)


def _of_call(term: Any) -> tuple[Term, ...]:
    if not term.keywords:
        return (term.func, *term.args)
    return (term.func, *term.args, *(value for _, value in term.keywords))


def _of_choice(term: Any) -> tuple[Term, ...]:
    return (term.then, term.other) if term.test is None else (term.test, term.then, term.other)


# A table by type, where a `match` would try one class after the other: terms are walked many times.
_PARTS: dict[type, Callable[[Any], tuple[Term, ...]]] = {
    Attr: lambda term: (term.base,),
    Item: lambda term: (term.base, term.key),
    Call: _of_call,
    Op: lambda term: (term.left, term.right),
    Logic: lambda term: (term.left, term.right),
    Not: lambda term: (term.operand,),
    Negative: lambda term: (term.operand,),
    Choice: _of_choice,
    Element: lambda term: (term.source,),
    Sequence: lambda term: term.items,
    Mapping: lambda term: tuple(part for pair in term.pairs for part in pair),
    Text: lambda term: term.parts,
}


def walk(*roots: Term) -> list[Term]:
    """Every distinct sub-term of ``roots``, parents before children."""
    seen: set[int] = set()
    found: list[Term] = []
    pending = list(roots[::-1])
    parts = _PARTS
    while pending:
        term = pending.pop()
        key = id(term)
        if key in seen:
            continue
        seen.add(key)
        found.append(term)
        split = parts.get(type(term))
        if split is not None:
            pending.extend(split(term)[::-1])
    return found


def is_none(term: Term | None) -> bool:
    """Is ``term`` the literal None (and not absent)?"""
    return isinstance(term, Const) and term.value is None


def source_text(term: Term) -> str:
    """The term as short Python-like text, for messages and to tell equal expressions.

    Terms share parts, so the whole text of one can be exponential: past a bound the place of a part
    stands for it.
    """
    return _Writer().text(term)


class _Writer:
    """Writes one term, part by part, until its budget is spent."""

    def __init__(self) -> None:
        self.left = TEXT_PARTS

    def text(self, term: Term) -> str:
        self.left -= 1
        if self.left < 0:
            return f"<{term.loc.row}:{term.loc.column}>"
        match term:
            case Const(value=value):
                return repr(value)
            case Global(name=name) | Param(name=name):
                return name
            case Attr(base=base, name=name):
                return f"{self.text(base)}.{name}"
            case Item(base=base, key=key):
                return f"{self.text(base)}[{self.text(key)}]"
            case Call(func=func, args=args, keywords=keywords):
                given = [*map(self.text, args), *(f"{name}={self.text(value)}" for name, value in keywords)]
                inner = ", ".join(given)
                return f"{self.text(func)}({inner if len(inner) <= _TEXT_LIMIT else '...'})"
            case Op(sign=sign, left=left, right=right) | Logic(sign=sign, left=left, right=right):
                return f"{self._operand(left, sign)} {sign} {self._operand(right, sign)}"
            case Not(operand=operand):
                return f"not {self._operand(operand, 'not')}"
            case Negative(operand=operand):
                return f"-{self._operand(operand, '-')}"
            case Choice(test=test, then=then, other=other) if test is not None:
                return f"{self.text(then)} if {self.text(test)} else {self.text(other)}"
            case Text(parts=parts):
                inner = "".join(
                    str(part.value) if isinstance(part, Const) else "{" + self.text(part) + "}"
                    for part in parts
                )
                return f'f"{inner}"'
            case _:
                return "..."

    def _operand(self, term: Term, sign: str) -> str:
        """An operand, in parentheses where the text would read otherwise without them."""
        text = self.text(term)
        if isinstance(term, Op) and (sign in _LOOSE or term.sign == sign):
            return text
        other = isinstance(term, Op | Logic | Choice) and getattr(term, "sign", "") != sign
        return f"({text})" if other else text


TEXT_PARTS = 120
"""Parts of a term that its text spells out."""
_TEXT_LIMIT = 60
_LOOSE = frozenset("and or not == != < > <= >= is in".split()) | {"is not", "not in"}
"""Operators that bind weaker than any arithmetic."""


def each_term(events: Iterable[Event]) -> Iterator[tuple[Event, Term]]:
    """Every distinct term of ``events``, with the first event that it is part of.

    A variable's value is part of every later term that uses the variable; walking each event apart
    would take quadratic time.
    """
    seen: set[int] = set()
    for event in events:
        pending = [event.value] if event.target is None else [event.target, event.value]
        while pending:
            term = pending.pop()
            if id(term) not in seen:
                seen.add(id(term))
                yield event, term
                pending.extend(reversed(children(term)))


def conjuncts(guard: Guard) -> Iterator[tuple[Term, bool]]:
    """The terms that must all be true, or all false, for a guard to hold."""
    pending = [(guard.test, guard.holds)]
    while pending:
        match pending.pop():
            case Not(operand=operand), holds:
                pending.append((operand, not holds))
            case Logic(sign=sign, left=left, right=right), holds if sign == ("and" if holds else "or"):
                pending += [(left, holds), (right, holds)]
            case term, holds:
                yield term, holds
