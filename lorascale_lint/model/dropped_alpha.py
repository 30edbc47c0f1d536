"""Calls that could be told alpha, and are not: what the caller has, and what the callee takes instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Loc,
    Local,
    Param,
    Parameter,
    Term,
    walk,
)
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.applications import Step
from lorascale_lint.model.project import (
    Function,
    Project,
    bound_arguments,
    constructor,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.scale import ALPHA, RANK, SCALING
from lorascale_lint.model.vocabulary import number_role

_BUILDS = re.compile(r"_{0,2}(init|post_init|build|setup|create|load).*")
_PUTS_WEIGHTS = frozenset("update load_state_dict load_weights update_modules set_state_dict".split())


@dataclass(frozen=True, slots=True, eq=False)
class DroppedAlpha:
    """A call at ``loc`` in ``function`` that leaves the alpha of its callee at a default.

    ``arguments`` are the keywords that it lacks, with what the caller has for them; ``harmless`` says that
    the default of a missing alpha is the rank, so that adapters with alpha = rank stay as they are.
    """

    function: Function
    loc: Loc
    event: Event
    message: str
    steps: tuple[Step, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    harmless: bool = False


def dropped_alphas(project: Project, function: Function) -> Iterator[DroppedAlpha]:
    """Calls in ``function`` that drop the alpha which it was given, keeps, or could read."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread:
            continue
        call = completed(call)
        for callee in project.callees(call.func, function, None):
            target = constructor(project, callee)
            if target is None or target is function:
                continue
            bound = _bound(call, target, function)
            parameter = free_alpha(target, bound)
            if parameter is None:
                continue
            found = _unused_parameter(project, function, event, target, bound, parameter) or _reset_attribute(
                project, function, event, target, bound, parameter
            )
            if found is not None:
                yield found
                break


def completed(call: Call) -> Call:
    """``Layer(rank=rank)`` for ``partial(Layer, rank=rank)``."""
    if isinstance(call.func, Attr | Global) and call.func.name == "partial" and call.args:
        return Call(call.args[0], call.args[1:], call.keywords, call.spread, call.loc)
    return call


def _bound(call: Call, target: Function, caller: Function) -> dict[str, Term]:
    """Arguments by parameter, also for ``Parent.method(self, ...)``."""
    explicit = (
        target.receiver is not None
        and bool(call.args)
        and is_receiver(call.args[0], caller)
        and isinstance(call.func, Attr)
        and not is_receiver(call.func.base, caller)
    )
    plain = Call(call.func, call.args[1:], call.keywords, call.spread, call.loc) if explicit else call
    return bound_arguments(plain, target)


def free_alpha(target: Function, bound: dict[str, Term]) -> Parameter | None:
    """The only alpha parameter of ``target``, if it has a default and the call leaves it there."""
    alphas = [p for p in target.facts.parameters if number_role(p.name, True) == ALPHA]
    if len(alphas) != 1 or alphas[0].name in bound or not isinstance(alphas[0].default, Const):
        return None
    return alphas[0] if _is_used(target, alphas[0].name, (target,)) else None


def _unused_parameter(
    project: Project,
    function: Function,
    event: Event,
    target: Function,
    bound: dict[str, Term],
    parameter: Parameter,
) -> DroppedAlpha | None:
    """A constructor or factory that is given alpha, uses it nowhere, and calls what takes one."""
    given = [p for p in function.facts.parameters if number_role(p.name, True) == ALPHA]
    if len(given) != 1 or given[0].kind in ("args", "kwargs"):
        return None
    alpha = given[0]
    makes = function.facts.name == "__init__" or any(
        event.value is returned.value for returned in function.events("return")
    )
    rank_given = any(
        isinstance(term, Param) and number_role(name, True) == RANK and number_role(term.name, True) == RANK
        for name, term in bound.items()
    )
    related = _with_nested(project, function)
    if not (makes or rank_given) or _is_used(function, alpha.name, related, project):
        return None
    if any(isinstance(e.value, Call) and e.value.spread for f in related for e in f.events("call")):
        return None  # arguments behind `*` are not followed, alpha may be one of them
    stored = _stored_from(target, parameter.name)
    if not any(_is_read(project, function, target, name) for name in stored):
        return None  # a variant that has no alpha, or one that is not followed
    if any(_written_after(function, name, event.value.loc) for name in stored):
        return None
    default = parameter.default
    assert isinstance(default, Const)
    name, called = function.facts.qualname, target.facts.qualname
    return DroppedAlpha(
        function,
        event.value.loc,
        event,
        f"`{name}` is given `{alpha.name}` and drops it: this call leaves it at {default.value}",
        (
            (function.filename, alpha.loc, f"`{alpha.name}` comes in and is used nowhere"),
            (function.filename, event.value.loc, f"this call of `{called}` does not pass it"),
            (target.filename, parameter.loc, f"so `{parameter.name}` is {default.value}"),
        ),
        (*_ranks_to_pass(function, target, bound), (parameter.name, alpha.name)),
    )


def _ranks_to_pass(
    function: Function, target: Function, bound: dict[str, Term]
) -> tuple[tuple[str, str], ...]:
    """The rank that ``function`` takes, if ``target`` has one and is not given it either."""
    taken, wanted = (
        [p for p in found.facts.parameters if number_role(p.name, True) == RANK]
        for found in (function, target)
    )
    if len(taken) != 1 or len(wanted) != 1 or wanted[0].name in bound or wanted[0].default is None:
        return ()
    return ((wanted[0].name, taken[0].name),)


def _reset_attribute(
    project: Project,
    function: Function,
    event: Event,
    target: Function,
    bound: dict[str, Term],
    parameter: Parameter,
) -> DroppedAlpha | None:
    """A call on the same object that writes the default over the alpha which the constructor stored."""
    call = event.value
    assert isinstance(call, Call)
    if target.owner is None or function.owner is None or not isinstance(call.func, Attr):
        return None
    if not is_receiver(call.func.base, function) or not _BUILDS.fullmatch(function.facts.name):
        return None
    if not any(_own(term, function, RANK) for term in bound.values()):
        return None
    for write in target.events("write"):
        attribute = write.target
        if not isinstance(attribute, Attr) or not is_receiver(attribute.base, target):
            continue
        parts = walk(write.value)
        if not _mentions(parts, parameter.name) or any(
            _mentions(walk(guard.test), parameter.name) for guard in write.guards
        ):
            continue
        if any(isinstance(part, Attr) and "alpha" in part.name for part in parts):
            continue  # the stored alpha is kept
        stored = _stored_by_constructor(project, function, attribute.name)
        if stored is None or _written_after(function, attribute.name, call.loc):
            continue
        if not _is_read(project, function, target, attribute.name):
            continue
        default = parameter.default
        assert isinstance(default, Const)
        name, where = attribute.name, function.filename
        return DroppedAlpha(
            function,
            call.loc,
            event,
            f"`{function.facts.qualname}` resets `{name}`: `{target.facts.name}` is not given it",
            (
                (stored.filename, stored.facts.loc, f"the constructor stores the trained `{name}`"),
                (where, call.loc, f"this call passes the rank that the constructor stored, not `{name}`"),
                (target.filename, parameter.loc, f"so `{parameter.name}` is {default.value}"),
                (target.filename, write.loc, f"and `{name}` is overwritten"),
            ),
            ((parameter.name, f"{function.receiver}.{name}"),),
            harmless=default.value is None
            and any(isinstance(part, Param) and number_role(part.name, True) == RANK for part in parts),
        )
    return None


def _stored_from(target: Function, parameter: str) -> frozenset[str]:
    """Attributes that ``target`` computes from ``parameter``."""
    return frozenset(
        event.target.name
        for event in target.events("write")
        if isinstance(event.target, Attr) and _mentions(walk(event.value), parameter)
    )


def _is_read(project: Project, function: Function, target: Function, name: str) -> bool:
    """Does a method that the made object really has read the attribute ``name``?"""
    owner = function.owner or target.owner
    if owner is None:
        return False
    for ancestor in project.ancestors(owner):
        for method in project.methods(ancestor):
            if method in (function, target) or project.method(owner, method.facts.name) is not method:
                continue
            for event in method.facts.events:
                if any(isinstance(part, Attr) and part.name == name for part in walk(event.value)):
                    return True
    return False


def _mentions(parts: list[Term], name: str) -> bool:
    return any(isinstance(part, Param) and part.name == name for part in parts)


def _own(term: Term, function: Function, role: str) -> bool:
    return (
        isinstance(term, Attr) and is_receiver(term.base, function) and number_role(term.name, True) == role
    )


def _stored_by_constructor(project: Project, function: Function, name: str) -> Function | None:
    """The constructor that stores its own alpha parameter as ``self.name``."""
    assert function.owner is not None
    for write in project.writes(function.owner, name):
        if (
            write.on_self
            and write.function.facts.name == "__init__"
            and any(
                isinstance(part, Param) and number_role(part.name, True) == ALPHA
                for part in walk(write.event.value)
            )
        ):
            return write.function
    return None


def _written_after(function: Function, name: str, loc: Loc) -> bool:
    return any(
        isinstance(event.target, Attr) and event.target.name == name and event.loc.row > loc.row
        for event in function.events("write")
    )


def _with_nested(project: Project, function: Function) -> tuple[Function, ...]:
    """``function`` and the functions and lambdas defined in it."""
    prefix = f"{function.facts.qualname}."
    return (
        function,
        *(
            other
            for other in project.functions.values()
            if other.filename == function.filename and other.facts.qualname.startswith(prefix)
        ),
    )


def _is_used(owner: Function, name: str, where: tuple[Function, ...], project: Project | None = None) -> bool:
    """Does any term of ``where`` contain the parameter ``name`` of ``owner``?

    With ``project`` a call of ``owner`` by itself that only hands the parameter down is no use of it.
    """
    for function in where:
        for event in function.facts.events:
            roots = [event.value, *(guard.test for guard in event.guards)]
            if event.target is not None:
                roots.append(event.target)
            call = event.value
            if (
                project is not None
                and event.kind == "call"
                and isinstance(call, Call)
                and owner in project.callees(call.func, function, None)
            ):
                bound = bound_arguments(call, owner)
                handed = bound.pop(name, None)
                if isinstance(handed, Param) and handed.name == name:
                    roots[0] = call.func
                    roots += bound.values()
            for part in walk(*roots):
                if isinstance(part, Param) and part.name == name and part.function == owner.facts.qualname:
                    return True
    return False


def rebuilt_with_defaults(project: Project, function: Function) -> Iterator[DroppedAlpha]:
    """A loader that makes adapter layers with defaults, where training is told rank and scale.

    The evidence for the parameters is another call of the same callable in the project that gives them.
    """
    traffic = key_traffic(function)
    words = " ".join(word for word in function.facts.words if " " not in word.strip()).lower()
    if not traffic.files_read or any(word in words for word in ("alpha", "scal", "rank", "config")):
        return
    if not {"A", "B"} <= traffic.roles("read", "test") or not _puts_weights(function):
        return
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread or call.keywords or len(call.args) != 1:
            continue
        name = project.absolute_name(function, call.func)
        sibling = _told_rank_and_scale(project, name) if "lora" in name.lower() else None
        if sibling is None:
            continue
        other, told = sibling
        given = ", ".join(key for key, _ in told.keywords)
        yield DroppedAlpha(
            function,
            call.loc,
            event,
            f"`{function.facts.qualname}` rebuilds trained layers with the defaults of rank and scale",
            (
                (other.filename, told.loc, f"`{other.facts.qualname}` makes the same layers from {given}"),
                (function.filename, call.loc, "here they are made without, so that the defaults win"),
                (function.filename, traffic.files_read[0].loc, "the factors come from this file"),
            ),
        )


def _puts_weights(function: Function) -> bool:
    return any(
        isinstance(event.value, Call)
        and isinstance(event.value.func, Attr)
        and event.value.func.name in _PUTS_WEIGHTS
        for event in function.events("call")
    )


def _told_rank_and_scale(project: Project, name: str) -> tuple[Function, Call] | None:
    """A call of the callable ``name`` that gives it a computed rank and a computed alpha or scale."""
    for function in project.functions.values():
        if is_test_file(function.filename):
            continue
        for event in function.events("call"):
            call = event.value
            if not isinstance(call, Call) or isinstance(call.func, Local):
                continue
            roles = {
                "scale" if key == "scale" else number_role(key, True)
                for key, value in call.keywords
                if not isinstance(value, Const)
            }
            told = RANK in roles and roles & {ALPHA, SCALING, "scale"}
            if told and project.absolute_name(function, call.func) == name:
                return function, call
    return None
