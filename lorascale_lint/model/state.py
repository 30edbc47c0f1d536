"""The state that carries alpha and rank: who writes it, when, and whether it can be None."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Guard,
    Loc,
    Logic,
    Not,
    Op,
    Param,
    Term,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.model.project import (
    AttributeWrite,
    Class,
    Function,
    Project,
    bound_arguments,
    is_receiver,
)
from lorascale_lint.model.vocabulary import factor_side, number_role

_CONFIGURATION = re.compile(r"(?i)(args|arguments|config|cfg|conf|opts?|options|hparams|params|settings)")
_CONSTRUCTORS = frozenset(["__init__", "__post_init__", "build", "setup"])


@dataclass(frozen=True, slots=True, eq=False)
class StateWrite:
    """One write of an alpha or rank attribute.

    ``conditional`` are the guards left after those that only ask whether the attribute is set.
    ``declared`` says that this is the default in the class body.
    """

    function: Function | None
    filename: str
    loc: Loc
    value: Term | None
    may_be_none: bool
    conditional: tuple[Guard, ...]
    declared: bool = False

    @property
    def in_constructor(self) -> bool:
        """Does the write belong to making the object?"""
        return self.declared or (self.function is not None and self.function.facts.name in _CONSTRUCTORS)


@dataclass(frozen=True, slots=True, eq=False)
class AttributeState:
    """An attribute of a class that holds alpha, rank or their ratio."""

    owner: Class
    name: str
    role: str
    writes: tuple[StateWrite, ...]

    @property
    def may_be_none(self) -> bool:
        """Can the attribute still be None after construction and loading?

        True only if some write leaves it None and no write outside a condition ever replaces that.
        """
        unset = any(write.may_be_none and write.in_constructor for write in self.writes)
        repaired = any(not write.may_be_none and not write.conditional for write in self.writes)
        return unset and not repaired

    @property
    def unset_by(self) -> StateWrite | None:
        """The write that leaves the attribute None."""
        return next((write for write in self.writes if write.may_be_none), None)

    @property
    def conditional_writes(self) -> tuple[StateWrite, ...]:
        """Writes that set the attribute, but only under a condition."""
        return tuple(write for write in self.writes if write.conditional and not write.may_be_none)


@dataclass(frozen=True, slots=True, eq=False)
class Setter:
    """A method that takes both factors as parameters and stores them."""

    function: Function
    factors: dict[str, AttributeWrite]
    alpha_parameter: str | None
    writes_alpha: bool


def state_attributes(project: Project, cls: Class) -> Iterator[AttributeState]:
    """Alpha, rank and scaling attributes that ``cls`` (not only a base of it) has or inherits."""
    names: dict[str, str] = {}
    for ancestor in project.ancestors(cls):
        for attribute in ancestor.facts.attributes:
            role = number_role(attribute.name, True)
            if role is not None:
                names.setdefault(attribute.name, role)
        for method in project.methods(ancestor):
            for event in method.events("write"):
                target = event.target
                if isinstance(target, Attr) and is_receiver(target.base, method):
                    role = number_role(target.name, True)
                    if role is not None:
                        names.setdefault(target.name, role)
    for name, role in names.items():
        yield AttributeState(cls, name, role, tuple(_state_writes(project, cls, name)))


def _state_writes(project: Project, cls: Class, name: str) -> Iterator[StateWrite]:
    declared = project.class_attribute(cls, name)
    if declared is not None and declared[1] is not None:
        where, value, loc = declared
        yield StateWrite(None, where.filename, loc, value, is_none(value), (), declared=True)
    for write in project.writes(cls, name):
        if not write.on_self and not _may_be_layer(write):
            continue
        function, event = write.function, write.event
        none = (
            write.on_self
            and may_be_none(project, event.value, function)
            and not any(_excludes_none(guard, event.value) for guard in event.guards)
        )
        guards = _conditions(event, name)
        yield StateWrite(function, function.filename, event.loc, event.value, none, guards)


def _may_be_layer(write: AttributeWrite) -> bool:
    """Is ``x.lora_alpha = ...`` a write to a layer, and not to a configuration object?"""
    target = write.event.target
    base = target.base if isinstance(target, Attr) else None
    name = base.name if isinstance(base, Attr | Param) else source_text(base) if base is not None else ""
    return _CONFIGURATION.search(name) is None


def _conditions(event: Event, name: str) -> tuple[Guard, ...]:
    """Guards that leave the attribute unwritten on some path."""
    return tuple(guard for guard in event.guards if not guard.required and not _asks_for(guard, name))


def _asks_for(guard: Guard, name: str) -> bool:
    """Does the guard only ask whether the attribute ``name`` is set?"""
    asked = {term.name for term in walk(guard.test) if isinstance(term, Attr | Param)}
    return name in asked and asked <= {name, "self"}


def may_be_none(project: Project, term: Term, function: Function, depth: int = 4) -> bool:
    """Can ``term`` be None where ``function`` computes it? Follows parameters to their callers."""
    match term:
        case Const(value=value):
            return value is None
        case Choice(test=test, then=then, other=other):
            options = [(then, True), (other, False)]
            return any(
                may_be_none(project, option, function, depth)
                for option, holds in options
                if test is None or not _excludes_none(Guard(test, holds), option)
            )
        case Logic(sign="or", right=right):
            return may_be_none(project, right, function, depth)
        case Param(name=name):
            parameter = function.parameter(name)
            if parameter is None:
                return False
            optional = is_none(parameter.default) if parameter.default is not None else False
            sites = project.call_sites(function) if depth else ()
            if not sites:
                return optional
            for site in sites:
                argument = bound_arguments(site.call, function).get(name)
                if argument is None:
                    if optional and not site.call.spread:
                        return True
                elif may_be_none(project, argument, site.caller, depth - 1):
                    return True
            return False
        case Attr(base=base, name=name) if function.owner is not None and is_receiver(base, function):
            if not depth or number_role(name, True) is None:
                return False
            writes = tuple(_shallow_writes(project, function.owner, name, depth - 1))
            return AttributeState(function.owner, name, "", writes).may_be_none
        case Call():
            return False
        case _:
            return False


def _shallow_writes(project: Project, cls: Class, name: str, depth: int) -> Iterator[StateWrite]:
    declared = project.class_attribute(cls, name)
    if declared is not None and declared[1] is not None:
        yield StateWrite(None, declared[0].filename, declared[2], declared[1], is_none(declared[1]), (), True)
    for write in project.writes(cls, name):
        if write.on_self:
            none = may_be_none(project, write.event.value, write.function, depth) and not any(
                _excludes_none(guard, write.event.value) for guard in write.event.guards
            )
            guards = _conditions(write.event, name)
            yield StateWrite(
                write.function, write.function.filename, write.event.loc, write.event.value, none, guards
            )


def _excludes_none(guard: Guard, term: Term) -> bool:
    """Does ``guard`` say that ``term`` is not None?"""
    test, holds = guard.test, guard.holds
    while isinstance(test, Not):
        test, holds = test.operand, not holds
    if source_text(test) == source_text(term):
        return holds
    match test:
        case Op(sign=("is" | "is not" | "==" | "!=") as sign, left=left, right=Const(value=None)):
            return source_text(left) == source_text(term) and holds == (sign in ("is not", "!="))
        case Logic(sign="and", left=left, right=right) if holds:
            return _excludes_none(Guard(left, True), term) or _excludes_none(Guard(right, True), term)
        case Logic(sign="or", left=left, right=right) if not holds:
            return _excludes_none(Guard(left, False), term) or _excludes_none(Guard(right, False), term)
        case _:
            return False


def find_setters(project: Project, cls: Class) -> Iterator[Setter]:
    """Methods of ``cls`` that store both factors from their own parameters."""
    for method in project.methods(cls):
        if method.facts.name in _CONSTRUCTORS:
            continue
        factors: dict[str, AttributeWrite] = {}
        writes_alpha = False
        for event in method.events("write"):
            target = event.target
            while target is not None and not isinstance(target, Attr):
                target = getattr(target, "base", None)
            if target is None or not is_receiver(_root(target), method):
                continue
            side = factor_side(target.name, True) or _module_side(target)
            parts = walk(event.value)
            if any(
                isinstance(p, Attr) and p.name == target.name and is_receiver(_root(p), method) for p in parts
            ):
                continue  # the factor itself in another form: ``self.lora_A = self.lora_A.to(device)``
            if side is not None and any(
                isinstance(term, Param) and term.name != method.receiver for term in parts
            ):
                factors[side] = AttributeWrite(method, event, True)
            if number_role(target.name, True) in ("alpha", "scaling"):
                writes_alpha = True
        if set(factors) == {"A", "B"}:
            alpha = next(
                (
                    p.name
                    for p in method.facts.parameters
                    if number_role(p.name, True) in ("alpha", "scaling") or "scal" in p.name
                ),
                None,
            )
            yield Setter(method, factors, alpha, writes_alpha)


def _root(term: Term) -> Term:
    while isinstance(term, Attr):
        term = term.base
    return term


def _module_side(target: Attr) -> str | None:
    """``self.lora_A.weight.data = A`` writes the factor one attribute further out."""
    current: Term = target
    while isinstance(current, Attr):
        side = factor_side(current.name, False)
        if side is not None:
            return side
        current = current.base
    return None
