"""Applications that nobody can call alone, run through code that comes to them.

A method that another one calls with what it has worked out, a helper that is given the layer, a class whose
methods work on layers of another class: the layer is made, with one option after the other switched on, and
that which executes the application's row is measured in its place.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.configurations import DROPPED
from lorascale_lint.verify.harness.description import (
    Action,
    Call,
    FunctionCase,
    Geometry,
    LayerCase,
    Role,
    Sketch,
    Value,
)
from lorascale_lint.verify.harness.layers import Arguments, Build, described_layer
from lorascale_lint.verify.harness.loading import CannotLoadError, Loading
from lorascale_lint.verify.harness.measuring import applies, observe, setting_of
from lorascale_lint.verify.harness.methods import needed_of
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.harness.reached import reached_rows
from lorascale_lint.verify.harness.seen import CodeError
from lorascale_lint.verify.harness.signatures import inherited_by, parameters_of
from lorascale_lint.verify.harness.subjects import FunctionSubject, LayerSubject, Subject
from lorascale_lint.verify.harness.values import referred
from lorascale_lint.verify.verdicts import Verdict

_MOST_OPTIONS = 24
# Of one application: the search must end long before the question's time does. What was found is kept, and
# the next application goes on from there. Those of the processor, so that a busy machine finds as much; on
# the clock it is never more than the second number.
_SECONDS = 8.0
_MOST_SECONDS = 20.0
_UNCONVINCING = (Verdict.NOT_LORA_SHAPED, Verdict.BASE_SCALED, Verdict.ERROR, Verdict.NOT_RUN)
_ACTIONS = (Action.FORWARD, Action.MERGE, Action.UNMERGE)

Find = Callable[[Sketch], Subject]
_Key = tuple[str, str, Action]


class _Clock:
    """Says when a search has taken its time."""

    def __init__(self) -> None:
        self._until = time.process_time() + _SECONDS
        self._at_last = time.monotonic() + _MOST_SECONDS

    @property
    def is_over(self) -> bool:
        return time.process_time() > self._until or time.monotonic() > self._at_last


@dataclass(slots=True)
class Ways:
    """What is known of a project's code that comes to other code: found once for all that ask.

    `find` runs an application alone; it raises CannotBuildError or CannotLoadError.
    """

    root: Path
    find: Find
    seed: int
    _subjects: dict[_Key, list[Subject]] = field(default_factory=dict)
    _rest: dict[_Key, Iterator[Subject]] = field(default_factory=dict)
    _statements: dict[Path, list[range]] = field(default_factory=dict)
    _rows: dict[tuple[str, str, Action, int, Action], frozenset[str]] = field(default_factory=dict)

    def to(self, sketch: Sketch) -> Subject | None:
        """Code that comes to this application, and does something that can be measured."""
        place = sketch.place
        wanted, clock = self._wanted(sketch), _Clock()
        for way in sketch.ways:
            key = (way.place.file, way.place.owner or way.place.name, way.place.action)
            for number, subject in enumerate(self._of(way, key)):
                for action in (place.action, *(item for item in _ACTIONS if item is not place.action)):
                    if (acting := _acting(subject, action)) is None:
                        continue
                    rows = self._rows.get((*key, number, action))
                    if rows is None and clock.is_over:
                        return None
                    if rows is None:
                        rows = self._reached(acting)
                        self._rows[(*key, number, action)] = rows
                    if not wanted.isdisjoint(rows) and self._convinces(acting):
                        return acting
                if clock.is_over and number + 1 == len(self._subjects[key]):
                    return None
        return None

    def reaches(self, subject: Subject, sketch: Sketch) -> bool:
        """Whether it comes to the application, and not only to another one of its class."""
        return not self._wanted(sketch).isdisjoint(self._reached(subject))

    def _wanted(self, sketch: Sketch) -> set[str]:
        """The rows of an application, in any of its branches."""
        place = sketch.place
        path = self.root / place.file
        if path not in self._statements:
            self._statements[path] = _statements(path)
        found = set[str]()
        for wanted in sketch.rows or (place.row,):
            around = [rows for rows in self._statements[path] if wanted in rows]
            rows = min(around, key=len, default=range(wanted, wanted + 1))
            found |= {f"{place.file}:{row}" for row in rows}
        return found

    def _of(self, way: Sketch, key: _Key) -> Iterator[Subject]:
        """Those that are known, then others as long as somebody asks for them."""
        found = self._subjects.setdefault(key, [])
        yield from found
        for subject in self._rest.setdefault(key, self._made_of(way)):
            found.append(subject)
            yield subject

    def _made_of(self, way: Sketch) -> Iterator[Subject]:
        with contextlib.suppress(CannotLoadError, CannotBuildError):
            subject = self.find(way)
            yield subject
            yield from _with_options(subject, way)
            for heir in _heirs(subject, way):
                yield heir
                yield from _with_options(heir, way)

    def _reached(self, subject: Subject) -> frozenset[str]:
        with (
            reached_rows(self.root) as rows,
            contextlib.suppress(CodeError, CannotBuildError),
        ):
            observe(subject, setting_of(subject.case, self.seed))
        return frozenset(rows)

    def _convinces(self, subject: Subject) -> bool:
        with contextlib.suppress(CodeError, CannotBuildError):
            verdict = ask(Property.SCALE, subject, self.seed).verdict
            return verdict not in _UNCONVINCING and applies(subject, self.seed)
        return False


def ways_of(loading: Loading, find: Find, seed: int) -> Ways:
    """The ways of a project that is being loaded."""
    if not isinstance(loading.ways, Ways):
        loading.ways = Ways(loading.root.resolve(), find, seed)
    return loading.ways


def _statements(path: Path) -> list[range]:
    """The rows of each statement of a file that holds no others."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body")
    ]


def _acting(subject: Subject, action: Action) -> Subject | None:
    """The same, asked for another action; None: it does no such thing."""
    case = subject.case
    if isinstance(subject, FunctionSubject):
        return subject
    assert isinstance(case, LayerCase)
    offered = {Action.FORWARD: case.forward, Action.MERGE: case.merge, Action.UNMERGE: case.unmerge}
    if offered.get(action) is None or (action is Action.UNMERGE and case.merge is None):
        return None
    method = offered[action].method if offered[action] else ""  # type: ignore[union-attr]
    name = f"{case.place.owner}.{method}"
    return LayerSubject(replace(case, place=replace(case.place, action=action, name=name)), subject.made_by)


def _heirs(subject: Subject, way: Sketch) -> Iterator[LayerSubject]:
    """The same of classes that complete its class, in the file where it stands."""
    case, cls = subject.case, subject.made_by
    if not isinstance(case, LayerCase) or not isinstance(cls, type):
        return
    heirs: list[type] = cls.__subclasses__()
    for heir in heirs:
        for geometry in Geometry if heir.__module__ == cls.__module__ else ():
            build = Build(case.constructor, geometry, case.square, case.modules)
            with contextlib.suppress(CannotBuildError, CodeError):
                described = described_layer(way, heir, build)
                if described.base:
                    yield LayerSubject(described, heir)


def _with_options(subject: Subject, way: Sketch) -> Iterator[Subject]:
    """The same with one option after the other set."""
    case = subject.case
    if type(subject) is FunctionSubject and isinstance(case, FunctionCase):
        for _, given in zip(range(_MOST_OPTIONS), _options(case.arguments, subject.made_by), strict=False):
            yield FunctionSubject(replace(case, arguments=given), subject.made_by)
    if not isinstance(subject, LayerSubject):
        return
    assert isinstance(case, LayerCase)
    for merge in (*_other_merges(case.merge, subject.made_by), *_flagged(case.merge, subject.made_by)):
        yield LayerSubject(replace(case, merge=merge), subject.made_by)
    for _, given in zip(range(_MOST_OPTIONS), _options(case.constructor, subject.made_by), strict=False):
        build = Build(given, case.geometry, case.square, case.modules)
        with contextlib.suppress(CannotBuildError, CodeError):
            other = described_layer(way, subject.made_by, build)
            yield LayerSubject(other, subject.made_by)
            for merge in _flagged(other.merge, subject.made_by):
                yield LayerSubject(replace(other, merge=merge), subject.made_by)


def _other_merges(call: Call | None, cls: Any) -> Iterator[Call]:
    """Other methods that are called like a merge: the first one may only work out what it would give."""
    for name in words.MERGE if call is not None else ():
        method = getattr(cls, name, None)
        plain = inspect.isfunction(method) and len(needed_of(method)) == 1
        if plain and call is not None and name != call.method:
            yield Call(name, ())


def _flagged(call: Call | None, cls: Any) -> Iterator[Call]:
    """A method with its flags set in turn."""
    method = getattr(cls, call.method, None) if call is not None else None
    if call is None or method is None:
        return
    with contextlib.suppress(CannotBuildError):
        for name, parameter in parameters_of(method).items():
            if parameter.default is False:
                yield Call(call.method, (*call.arguments, (name, Value(Role.LITERAL, literal=True))))


def _options(given: Arguments, function: Callable[..., Any]) -> Iterator[Arguments]:
    """What is given with one flag set, or one of the choices of a configuration made."""
    known = dict(given)
    try:
        parameters = {**parameters_of(function), **inherited_by(function)}
    except CannotBuildError:
        parameters = {}
    for name, parameter in parameters.items():
        told = known.get(name)
        if parameter.default is False and (told is None or told.literal is False):
            yield tuple({**known, name: Value(Role.LITERAL, literal=True)}.items())
        elif words.is_dropout(name) and (told is None or not told.literal):
            # Some have a way of their own for it, which does the same when nothing is trained.
            yield tuple({**known, name: DROPPED}.items())
    for name, value in given:
        if value.role is Role.OBJECT and value.literal:
            with contextlib.suppress(CannotBuildError):
                for field_name, choice in _choices(referred(value.literal)):
                    parts = {**dict(value.parts), field_name: choice}
                    told = replace(value, parts=tuple(parts.items()))
                    yield tuple({**known, name: told}.items())


def _choices(cls: Any) -> Iterator[tuple[str, Value]]:
    """Fields of a configuration with another value than their default: flags, settings, texts."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # Annotations are code, and name what is not there.
        hints = {}
    for name, parameter in parameters_of(cls).items():
        unset = parameter.default is None and hints.get(name) in (bool, bool | None)
        if parameter.default is False or unset:
            yield name, Value(Role.LITERAL, literal=True)
        # Of what has a default, so that everything that it is made of has one.
        for kind in _kinds(hints.get(name)):
            if is_dataclass(kind) and isinstance(kind, type) and parameter.default is None:
                yield name, Value(Role.OBJECT, literal=f"{kind.__module__}:{kind.__qualname__}")
            elif isinstance(kind, str) and parameter.default != kind:
                yield name, Value(Role.LITERAL, literal=kind)


def _kinds(hint: Any) -> Iterator[Any]:
    """The classes of a union, and the texts of which one is meant."""
    if typing.get_origin(hint) is typing.Literal:
        yield from (item for item in typing.get_args(hint) if isinstance(item, str))
    elif arguments := typing.get_args(hint):
        for item in arguments:
            yield from _kinds(item)
    elif inspect.isclass(hint) and hint.__module__ in sys.modules:
        yield hint
