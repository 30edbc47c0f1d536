"""The scalars that are multiplied onto a tensor, one after the other, on each path that makes it.

The evaluator says what the product of all of them is; this module says which they are and where,
through assignments, branches, factor modules and the returns of helpers. A sum ends a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Global,
    Guard,
    Item,
    Loc,
    Logic,
    Negative,
    Not,
    Op,
    Param,
    Sequence,
    Term,
    children,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Class, Function, is_receiver
from lorascale_lint.model.scale import ALPHA, ONE, RANK, SCALING, Scale
from lorascale_lint.model.values import Factor, Number
from lorascale_lint.model.vocabulary import key_side

PATH_LIMIT = 24
CALL_DEPTH = 5

KEEPS = frozenset(
    "to float half bfloat16 double cuda cpu type type_as contiguous detach clone view reshape flatten "
    "squeeze unsqueeze expand to_local full_tensor astype T mT t transpose permute swapaxes data".split()
)
WRAPPERS = frozenset("Parameter as_tensor tensor cast asarray array".split())
_PRODUCTS = frozenset("mm matmul bmm dot linear conv1d conv2d conv3d kron einsum embedding".split())
_MULTIPLIES = frozenset("mul mul_ multiply multiply_".split())
_DIVIDES = frozenset("div div_ divide divide_ true_divide".split())
_MODULES = re.compile(r"(?i).*(linear|conv\dd|dense|embedding)|module")
DROPOUT = re.compile(r"(?i)(.*_)?(drop|dropout|identity)(_.*)?")
_CONSTRUCTORS = frozenset("__init__ __post_init__ build setup reset_parameters".split())


@dataclass(frozen=True, slots=True, eq=False)
class Multiplication:
    """A scalar ``term`` that ``function`` multiplies on at ``loc``.

    ``unseen`` says that it is handed, with the tensors, to a function outside the given files.
    """

    function: Function
    term: Term
    loc: Loc
    scale: Scale
    unseen: bool = False

    @property
    def text(self) -> str:
        """The scalar as source text."""
        return source_text(self.term)


@dataclass(frozen=True, slots=True, eq=False)
class ScalePath:
    """One way a tensor is made: ``steps`` outermost first, ``sides`` the factors it passes.

    ``certain`` is False where something multiplied on is no understood scalar; ``tensors`` says that a
    tensor that is neither was multiplied on elementwise (a mask, a magnitude, a gate).
    """

    steps: tuple[Multiplication, ...] = ()
    sides: frozenset[str] = frozenset()
    guards: tuple[tuple[Frame, Guard], ...] = ()
    via: tuple[tuple[Function, Loc], ...] = ()
    certain: bool = True
    tensors: bool = False

    @property
    def scale(self) -> Scale:
        """The product of all steps."""
        total = ONE
        for step in self.steps:
            total *= step.scale
        return total

    @property
    def is_delta(self) -> bool:
        """Does the path pass both factors, or a function that is given them with their scale?"""
        return self.sides >= {"A", "B"} or any(step.unseen for step in self.steps)


@dataclass
class Multiplications:
    """Finds the paths of terms; one per model, results are kept by term and frame."""

    evaluator: Evaluator
    _memo: dict[tuple[int, int], tuple[ScalePath, ...]] = field(default_factory=dict)
    _alive: list[object] = field(default_factory=list)
    _active: set[tuple[int, int]] = field(default_factory=set)

    def paths(self, term: Term, frame: Frame, calls: int = 0) -> tuple[ScalePath, ...]:
        """All paths that make ``term``; at least one."""
        key = (id(term), id(frame))
        known = self._memo.get(key)
        if known is not None:
            return known
        if key in self._active or calls > CALL_DEPTH:
            return (ScalePath(certain=False),)
        self._active.add(key)
        found = self._follow(term, frame, calls)
        self._active.discard(key)
        kept = _merged(tuple(path for path in found if not _contradictory(path.guards)))
        if len(kept) > PATH_LIMIT or not kept:
            kept = (ScalePath(certain=False),)
        self._memo[key] = kept
        self._alive.append((term, frame))
        return kept

    # ---- terms --------------------------------------------------------------------------

    def _follow(self, term: Term, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        match term:
            case Param(function=function, name=name) if function == frame.function.facts.qualname:
                if frame.arguments is not None:
                    given = frame.arguments.get(name)
                    if given is not None:
                        return self.paths(given[0], given[1], calls)
                    parameter = frame.function.parameter(name)
                    if parameter is not None and parameter.default is not None:
                        return self.paths(parameter.default, frame, calls)
            case Choice(test=test, then=then, other=other):
                found: list[ScalePath] = []
                for branch, holds in ((then, True), (other, False)):
                    guard = None if test is None else _plain(Guard(test, holds))
                    if guard is not None and _decided(guard, frame) not in (None, guard.holds):
                        continue
                    extra = () if guard is None else ((frame, guard),)
                    paths = self.paths(branch, frame, calls)
                    found.extend(replace(path, guards=(*extra, *path.guards)) for path in paths)
                return tuple(found)
            case Logic(sign="or", left=left, right=right):
                return (*self.paths(left, frame, calls), *self.paths(right, frame, calls))
            case Negative(operand=operand):
                return self.paths(operand, frame, calls)
            case Op(sign="*", left=left, right=right):
                return self._times(left, right, term.loc, frame, calls)
            case Op(sign="/", left=left, right=right):
                return self._divided(left, right, term.loc, frame, calls)
            case Op(sign="@", left=left, right=right):
                return _joined(self.paths(left, frame, calls), self.paths(right, frame, calls))
            case Attr():
                return self._attribute(term, frame, calls)
            case Item():
                return self._item(term, frame, calls)
            case Call():
                return self._call(term, frame, calls)
            case _:
                pass
        return (ScalePath(sides=self._sides(term, frame)),)

    def _times(self, left: Term, right: Term, loc: Loc, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        first = self._scalar(left, loc, frame)
        second = self._scalar(right, loc, frame)
        if first is None and second is None:
            sides = (self.paths(left, frame, calls), self.paths(right, frame, calls))
            mixed = any(not path.sides and not path.steps for side in sides for path in side)
            return tuple(replace(path, tensors=path.tensors or mixed) for path in _joined(*sides))
        if second is not None:
            return _joined((second,), (first,) if first is not None else self.paths(left, frame, calls))
        assert first is not None
        return _joined((first,), self.paths(right, frame, calls))

    def _divided(self, left: Term, right: Term, loc: Loc, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        divisor = self._scalar(right, loc, frame)
        if divisor is None:
            return tuple(replace(path, certain=False) for path in self.paths(left, frame, calls))
        steps = tuple(replace(step, scale=step.scale.inverse()) for step in divisor.steps)
        numerator = self._scalar(left, loc, frame)
        inner = (numerator,) if numerator is not None else self.paths(left, frame, calls)
        return _joined((replace(divisor, steps=steps),), inner)

    def _attribute(self, term: Attr, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        if term.name in KEEPS:
            return self.paths(term.base, frame, calls)
        if is_receiver(term.base, frame.function) and frame.self_class is not None:
            method = self.evaluator.project.method(frame.self_class, term.name)
            if method is not None and any("property" in name for name in method.facts.decorators):
                return self._returned(method, Frame(method, frame.self_class, {}), calls)
        return (self._leaf(term, frame),)

    def _leaf(self, term: Term, frame: Frame) -> ScalePath:
        """A factor, or any other tensor; a factor that was scaled beforehand makes the path uncertain."""
        folded = any(
            isinstance(a.value, Factor) and a.value.scale != ONE for a in self.evaluator.values(term, frame)
        )
        return ScalePath(sides=self._sides(term, frame), certain=not folded)

    def _sides(self, term: Term, frame: Frame) -> frozenset[str]:
        found: set[str] = {
            a.value.side for a in self.evaluator.values(term, frame) if isinstance(a.value, Factor)
        }
        return frozenset(found) if len(found) == 1 else frozenset()

    def _item(self, term: Item, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        index = term.key.value if isinstance(term.key, Const) else None
        if isinstance(term.base, Call) and isinstance(index, int):
            entered = self.evaluator.calls.entered(term.base, frame)
            found = [
                replace(path, via=((function, event.loc), *path.via))
                for function, inner in entered or ()
                for event in function.events("return")
                if isinstance(event.value, Sequence) and index < len(event.value.items)
                for path in self.paths(event.value.items[index], inner, calls + 1)
            ]
            if found:
                return tuple(found)
        if key_side(key_pattern(term.key)) is None and not self._sides(term, frame):
            return (ScalePath(certain=not isinstance(term.base, Call)),)
        return (self._leaf(term, frame),)

    # ---- calls --------------------------------------------------------------------------

    def _call(self, term: Call, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        func = term.func
        name = func.name if isinstance(func, Attr | Global) else ""
        receiver = func.base if isinstance(func, Attr) else None
        library = self.evaluator.calls.is_library_call(term, frame)
        operands = term.args if library or receiver is None else (receiver, *term.args)
        if name in _MULTIPLIES and len(operands) == 2:
            return self._times(operands[0], operands[1], term.loc, frame, calls)
        if name in _DIVIDES and len(operands) == 2:
            return self._divided(operands[0], operands[1], term.loc, frame, calls)
        if name in _PRODUCTS and len(operands) >= 2 and (library or name in ("mm", "matmul", "bmm")):
            first, second = operands[-2:] if name == "einsum" else operands[:2]
            joined = _joined(self.paths(first, frame, calls), self.paths(second, frame, calls))
            if name == "kron":  # LoKr: a delta, whether its two factors are products or full matrices
                return tuple(replace(path, sides=path.sides | {"A", "B"}) for path in joined)
            return joined
        entered = self.evaluator.calls.entered(term, frame)
        if entered is not None:
            return tuple(
                path for function, inner in entered for path in self._returned(function, inner, calls)
            ) or (ScalePath(certain=False),)
        if name in KEEPS and receiver is not None and not library:
            return self.paths(receiver, frame, calls)
        if term.args and (name in WRAPPERS or name in KEEPS or DROPOUT.fullmatch(name)):
            return self.paths(term.args[0], frame, calls)
        if term.args and self.evaluator.calls.is_low_rank_sequence(func, frame):
            both = ScalePath(sides=frozenset(["A", "B"]))
            return _joined((both,), self.paths(term.args[0], frame, calls))
        side = self._module_side(func, frame)
        if side is not None and term.args:
            return _joined((ScalePath(sides=frozenset([side])),), self.paths(term.args[0], frame, calls))
        return (self._unseen(term, frame),)

    def _returned(self, function: Function, frame: Frame, calls: int) -> tuple[ScalePath, ...]:
        self._alive.append(frame)
        found: list[ScalePath] = []
        for event in function.events("return"):
            guards = tuple(map(_plain, event.guards))
            if any(_decided(guard, frame) not in (None, guard.holds) for guard in guards):
                continue
            for path in self.paths(event.value, frame, calls + 1):
                here = tuple((frame, guard) for guard in guards)
                found.append(
                    replace(path, guards=(*here, *path.guards), via=((function, event.loc), *path.via))
                )
        return tuple(found)

    def _module_side(self, func: Term, frame: Frame) -> str | None:
        """Which factor a called module is: by its value, or by the rank among its extents."""
        sides = self._sides(func, frame)
        if sides:
            return next(iter(sides))
        if not (isinstance(func, Attr) and is_receiver(func.base, frame.function) and frame.self_class):
            return None
        for write in self.evaluator.project.writes(frame.self_class, func.name):
            made = write.event.value
            maker = getattr(made.func, "name", "") if isinstance(made, Call) else ""
            if not isinstance(made, Call) or len(made.args) < 2 or not _MODULES.fullmatch(maker):
                continue
            inner = self.evaluator.frame(write.function)
            extents = [self.evaluator.single(argument, inner) for argument in made.args[:2]]
            ranks = [isinstance(v, Number) and v.scale == Scale.of(RANK) for v in extents]
            if any(ranks):
                return "mid" if all(ranks) else "B" if ranks[0] else "A"
        return None

    def _unseen(self, term: Call, frame: Frame) -> ScalePath:
        """A call of something outside the given files, perhaps with tensors and their trained scale."""
        given = [*term.args, *(value for _, value in term.keywords)]
        steps = [
            step
            for argument in given
            if (path := self._scalar(argument, term.loc, frame)) is not None and path.certain
            for step in path.steps
            if step.scale.is_trained
        ]
        if len(steps) != 1 or len(given) < 3 or isinstance(term.func, Attr):
            return ScalePath(certain=not steps)
        return ScalePath(steps=(replace(steps[0], unseen=True),))

    # ---- scalars ------------------------------------------------------------------------

    def _scalar(self, term: Term, loc: Loc, frame: Frame) -> ScalePath | None:
        """The path of a term that is a number; None for a tensor."""
        if isinstance(term, Param) and frame.arguments and term.name in frame.arguments:
            argument, outer = frame.arguments[term.name]
            return self._scalar(argument, loc, outer)
        values = [a.value for a in self.evaluator.values(term, frame)]
        if not all(isinstance(value, Number) for value in values):
            return None
        scales = [value.scale for value in values if isinstance(value, Number)]
        scale = _representative(scales)
        if scale is None or self._may_be_reset(term, frame) or _bound_to_constants(self, term, frame):
            return ScalePath(certain=False)
        if not scale.powers:
            return ScalePath()
        return ScalePath(steps=(Multiplication(frame.function, term, loc, scale),))

    def _may_be_reset(self, term: Term, frame: Frame) -> bool:
        """Does some method set the scale to a constant (after a fold, while merged)?"""
        owner: Class | None = frame.self_class
        for part in walk(term):
            if isinstance(part, Attr) and is_receiver(part.base, frame.function) and owner is not None:
                for write in self.evaluator.project.writes(owner, part.name):
                    literal = isinstance(write.event.value, Const) and write.event.value.value is not None
                    if literal and write.function.facts.name not in _CONSTRUCTORS:
                        return True
        return False


def names_in(term: Term, pattern: re.Pattern[str]) -> bool:
    """Does a name in ``term`` match ``pattern``?"""
    return any(_names(part, pattern) for part in walk(term))


def _names(part: Term, pattern: re.Pattern[str]) -> bool:
    if isinstance(part, Attr | Global | Param):
        return pattern.search(part.name) is not None
    return isinstance(part, Const) and isinstance(part.value, str) and pattern.search(part.value) is not None


def guarded_terms(
    function: Function, pattern: re.Pattern[str]
) -> Iterator[tuple[Event, Term, tuple[Guard, ...]]]:
    """Each term of ``function`` that has a name like ``pattern``, once, and the conditions it stands under.

    Calls come last: where they are part of a conditional expression, that one has told the condition.
    """
    named: dict[int, bool] = {}

    def mentions(term: Term) -> bool:
        known = named.get(id(term))
        if known is None:
            known = _names(term, pattern) or any(mentions(child) for child in children(term))
            named[id(term)] = known
        return known

    seen: set[int] = set()
    for event in (*function.events("return", "write", "bind"), *function.events("call")):
        pending = [(event.value, tuple(map(_plain, event.guards)))]
        while pending:
            term, guards = pending.pop()
            if id(term) in seen or not mentions(term):
                continue
            seen.add(id(term))
            yield event, term, guards
            if isinstance(term, Choice) and term.test is not None:
                pending.append((term.other, (*guards, _plain(Guard(term.test, False)))))
                pending.append((term.then, (*guards, _plain(Guard(term.test, True)))))
            else:
                pending.extend((child, guards) for child in reversed(children(term)))


def possible(path: ScalePath, guards: tuple[Guard, ...], frame: Frame) -> bool:
    """Can ``path`` be taken where ``guards`` hold?"""
    return not _contradictory((*((frame, guard) for guard in guards), *path.guards))


def _bound_to_constants(finder: Multiplications, term: Term, frame: Frame) -> bool:
    """Is a parameter inside ``term`` given a literal by this call (``scaling=1`` on purpose)?"""
    for part in walk(term):
        if isinstance(part, Param) and frame.arguments and part.name in frame.arguments:
            argument, outer = frame.arguments[part.name]
            value = finder.evaluator.single(argument, outer)
            if isinstance(value, Number) and not value.scale.powers:
                return True
    return False


def _representative(scales: list[Scale]) -> Scale | None:
    """One scale that stands for all of them; None if they are not variants of one trained scale.

    ``alpha / rank`` stands for itself, for 1 (alpha None means rank) and for its rsLoRA form.
    """
    distinct = list(dict.fromkeys(scales))
    if any(not scale.known for scale in distinct):
        return None
    if len(distinct) == 1:
        return distinct[0]
    trained = [scale for scale in distinct if scale.is_trained]
    for scale in distinct:
        if scale.is_trained or scale.is_unscaled or scale.power(ALPHA) or scale.power(SCALING):
            if scale in trained or scale.is_unscaled:
                continue
            return None
        if abs(scale.power(RANK)) > 0.5:
            return None
    return min(trained, key=lambda scale: abs(scale.power(RANK) + 1)) if trained else None


def _joined(left: tuple[ScalePath, ...], right: tuple[ScalePath, ...]) -> tuple[ScalePath, ...]:
    """Paths of a product: every path of one operand with every path of the other."""
    joined = tuple(
        ScalePath(
            (*first.steps, *second.steps),
            first.sides | second.sides,
            (*first.guards, *second.guards),
            (*first.via, *second.via)[:6],
            first.certain and second.certain,
            first.tensors or second.tensors,
        )
        for first in left
        for second in right
        if not _contradictory((*first.guards, *second.guards))
    )
    return _merged(joined)[: PATH_LIMIT + 1]


def _merged(paths: tuple[ScalePath, ...]) -> tuple[ScalePath, ...]:
    """Too many paths: those of one kind that differ only in their conditions become one.

    Flags that choose a form of the matrices (LoKr has four) multiply paths without changing a scale.
    """
    if len(paths) <= PATH_LIMIT:
        return paths
    groups: dict[object, list[ScalePath]] = {}
    for path in paths:
        key = (tuple(map(id, path.steps)), path.sides, path.certain, path.tensors)
        groups.setdefault(key, []).append(path)
    found: list[ScalePath] = []
    for group in groups.values():
        common = set.intersection(*({(id(f), id(g.test), g.holds) for f, g in p.guards} for p in group))
        guards = tuple((f, g) for f, g in group[0].guards if (id(f), id(g.test), g.holds) in common)
        found.append(replace(group[0], guards=guards))
    return tuple(found)


def _plain(guard: Guard) -> Guard:
    test, holds = guard.test, guard.holds
    while isinstance(test, Not):
        test, holds = test.operand, not holds
    return Guard(test, holds, guard.required)


def _decided(guard: Guard, frame: Frame) -> bool | None:
    """What a guard's test is in this call, if an argument decides it."""
    test, negated = guard.test, False
    none_test = False
    if isinstance(test, Op) and test.sign in ("is", "is not") and is_none(test.right):
        none_test, negated, test = True, test.sign == "is not", test.left
    if not isinstance(test, Param) or frame.arguments is None:
        return None
    argument = frame.arguments.get(test.name)
    parameter = frame.function.parameter(test.name)
    term = argument[0] if argument is not None else None if parameter is None else parameter.default
    if not isinstance(term, Const):
        return None
    return ((term.value is None) != negated) if none_test else bool(term.value)


def _contradictory(guards: tuple[tuple[Frame, Guard], ...]) -> bool:
    """Do two guards of one object say the opposite of each other?"""
    seen: dict[str, bool] = {}
    for frame, guard in guards:
        own, uses_parameters, text = _read_test(guard.test, frame.function)
        key = f"{id(frame)}:{text}" if uses_parameters else text
        if own and seen.setdefault(key, guard.holds) != guard.holds:
            return True
    return False


@lru_cache(maxsize=4096)
def _read_test(test: Term, function: Function) -> tuple[bool, bool, str]:
    """Is a test made of what ``function`` has, does it use its parameters, and what does it say?

    Kept, because each path through a choice carries the same few tests.
    """
    parameters = [part for part in walk(test) if isinstance(part, Param)]
    others = [part for part in parameters if not is_receiver(part, function)]
    own = all(part.function == function.facts.qualname for part in others)
    return own, bool(others), source_text(test)
