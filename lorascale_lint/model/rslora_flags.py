"""The option that switches rsLoRA on, on its way from who sets it to the scale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Loc,
    Mapping,
    Op,
    Param,
    Parameter,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_flow import unconverted
from lorascale_lint.model.applications import Step
from lorascale_lint.model.factor_products import is_log
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import (
    Class,
    Function,
    bound_arguments,
    constructor,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import number_role

FLAG = re.compile(r"(?i)_?(use_?|is_?|enable_?)?(rs_?lora|rank_stabili[sz]ed)(_scaling)?")
_ANY = re.compile(r"(?i)rs_?lora|rank_stabil")
_ON_PURPOSE = re.compile(
    r"(?i)unused|not used|ignore|deprecat|compat|placeholder|reserved|no[- ]op|noqa"
    r"|(not|un)[- _]?(yet )?support"
)
_ABSTRACT = frozenset(["abstractmethod", "overload"])


@dataclass(frozen=True, slots=True, eq=False)
class DroppedFlag:
    """Where the flag ends: never read, not passed on, or swallowed.

    ``argument`` is what the call at ``loc`` should pass, ``quotient`` where ``function`` divides whatever
    its parameter ``flag`` says; each if that is what repairs it.
    """

    function: Function
    event: Event | None
    loc: Loc
    message: str
    steps: tuple[Step, ...]
    argument: tuple[str, str] | None = None
    quotient: Loc | None = None
    flag: str = ""


def dropped_flags(model: Model) -> Iterator[DroppedFlag]:
    """Each place once, in file order."""
    for function in model.project.functions.values():
        if is_test_file(function.filename) or not any(_ANY.search(word) for word in function.facts.words):
            continue
        flag = next((p for p in function.facts.parameters if FLAG.fullmatch(p.name)), None)
        used = _uses(function)
        if flag is not None and flag.name not in used:
            found = _unread(model, function, flag)
            if found is not None:
                yield found
                continue
        not_passed = list(_not_passed(model, function, flag))
        yield from not_passed
        if flag is not None and not not_passed:
            yield from _handed_on_without(model, function, flag)
        yield from _swallowed(model, function)


def _uses(function: Function) -> frozenset[str]:
    return frozenset(term.name for event, term in each_term(function.facts.events) if isinstance(term, Param))


def _quotient(function: Function) -> Loc | None:
    """Where ``function`` divides alpha by the rank."""
    for _, term in each_term(function.facts.events):
        if isinstance(term, Op) and (term.sign, _role(term.left), _role(term.right)) == (
            "/",
            "alpha",
            "rank",
        ):
            return term.loc
    return None


def _role(term: Term) -> str | None:
    return number_role(term.name, True) if isinstance(term, Attr | Param) else None


def _is_stub(function: Function) -> bool:
    """Has the function no body to speak of, or may something else do its work?"""
    if any(name.rpartition(".")[2] in _ABSTRACT for name in function.facts.decorators):
        return True
    return not any(event.kind in ("write", "return", "call") for event in function.facts.events)


def _unread(model: Model, function: Function, flag: Parameter) -> DroppedFlag | None:
    """The flag is a parameter that no expression reads, beside an alpha / rank."""
    quotient = _quotient(function)
    nested = any(
        other.facts.qualname.startswith(function.facts.qualname + ".") and flag.name in _uses(other)
        for other in model.project.functions.values()
        if other.filename == function.filename
    )
    if quotient is None or _is_stub(function) or nested:
        return None
    return DroppedFlag(
        function,
        None,
        flag.loc,
        f"`{function.facts.qualname}` takes `{flag.name}` and never looks at it",
        (
            (function.filename, flag.loc, "the flag is taken here"),
            (function.filename, quotient, "alpha is divided by the rank, whatever the flag says"),
        ),
        quotient=quotient,
        flag=flag.name,
    )


def _not_passed(model: Model, function: Function, flag: Parameter | None) -> Iterator[DroppedFlag]:
    """A call with alpha and rank, but without the flag that the caller has and the callee takes."""
    if flag is None:
        return
    passed = [
        event.value
        for event in function.events("call")
        if isinstance(event.value, Call) and _mentions_flag(event.value) and not _logs(event.value)
    ]
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread or _mentions_flag(call):
            continue
        if any(isinstance(g.test, Param | Attr | Op) and _names_flag(g.test) for g in event.guards):
            continue
        for target in _targets(model, call, function):
            accepted = next((p for p in target.facts.parameters if FLAG.fullmatch(p.name)), None)
            if accepted is None or not isinstance(accepted.default, Const) or accepted.default.value:
                continue
            bound = bound_arguments(call, target)
            roles = {number_role(name, True) for name in bound}
            if accepted.name in bound or not {"alpha", "rank"} <= roles:
                continue
            if accepted.name not in _uses(target) or passed or _sets_flag(function):
                continue
            yield DroppedFlag(
                function,
                event,
                call.loc,
                f"`{function.facts.qualname}` has `{flag.name}` and does not pass it to "
                f"`{target.facts.qualname}`",
                (
                    (function.filename, flag.loc, "the caller is told whether to use rsLoRA"),
                    (function.filename, call.loc, "alpha and rank are passed on, the flag is not"),
                    (target.filename, accepted.loc, "so its default holds: alpha / r"),
                ),
                argument=(accepted.name, flag.name),
            )
            break


def _handed_on_without(model: Model, function: Function, flag: Parameter) -> Iterator[DroppedFlag]:
    """The flag is a parameter that nothing reads, while alpha and the rank taken beside it go on."""
    if _is_stub(function) or model.names.is_read(function, flag.name) or _is_no_secret(model, function, flag):
        return
    if set(function.facts.decorators) - {"staticmethod", "classmethod"} or _keeps_flag(model, function):
        return
    for event in function.facts.events:
        for term in walk(event.value):
            if not isinstance(term, Call | Mapping) or is_log(term):
                continue
            roles = {_own_role(value, function) for value in _given(term)}
            if not {ALPHA, RANK} <= roles or (isinstance(term, Call) and term.spread):
                continue
            yield DroppedFlag(
                function,
                None,
                flag.loc,
                f"`{function.facts.qualname}` takes `{flag.name}`, hands alpha and rank on and drops it",
                (
                    (function.filename, flag.loc, "the flag is taken here, and nothing reads it"),
                    (function.filename, term.loc, "alpha and rank go on without it"),
                ),
            )
            return


def _given(term: Call | Mapping) -> Iterator[Term]:
    """What a call or a dictionary display holds, below conversions."""
    if isinstance(term, Call):
        yield from map(unconverted, (*term.args, *(value for _, value in term.keywords)))
    else:
        yield from (unconverted(value) for _, value in term.pairs)


def _own_role(term: Term, function: Function) -> str | None:
    """Role of a parameter of ``function`` that is handed on as it is."""
    if isinstance(term, Call) and getattr(term.func, "name", "") in ("int", "float") and term.args:
        term = term.args[0]
    if isinstance(term, Param) and term.function == function.facts.qualname:
        return number_role(term.name, True)
    return None


def _is_no_secret(model: Model, function: Function, flag: Parameter) -> bool:
    """Does the text of ``function`` say, beside the flag's name, that it is not supported?"""
    node = model.names.definition(function)
    if node is None:
        return True
    lines = model.read_source(function.filename).decode("utf-8", "replace").splitlines()
    own = lines[node.lineno - 1 : node.end_lineno]
    return any(
        _ON_PURPOSE.search(" ".join(own[row : row + 3])) for row, line in enumerate(own) if flag.name in line
    )


def _keeps_flag(model: Model, function: Function) -> bool:
    """Does the class know the flag from elsewhere?"""
    owner = function.owner
    return owner is not None and any(
        isinstance(term, Attr) and FLAG.fullmatch(term.name)
        for member in model.project.ancestors(owner)
        for method in model.project.methods(member)
        for _, term in each_term(method.facts.events)
    )


def _swallowed(model: Model, function: Function) -> Iterator[DroppedFlag]:
    """The flag goes into ``**kwargs`` of a function that divides alpha by the rank itself."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call):
            continue
        given = next((pair for pair in call.keywords if FLAG.fullmatch(pair[0])), None)
        if given is None or isinstance(given[1], Const):
            continue
        for target in _targets(model, call, function):
            kinds = {p.kind for p in target.facts.parameters}
            if "kwargs" not in kinds or any(FLAG.fullmatch(p.name) for p in target.facts.parameters):
                continue
            extra = next(p.name for p in target.facts.parameters if p.kind == "kwargs")
            quotient = _quotient(target)
            if quotient is None or extra in _uses(target) or _passes_on(target):
                continue
            if any(_ANY.search(word) for word in target.facts.words):
                continue
            yield DroppedFlag(
                target,
                None,
                quotient,
                f"`{target.facts.qualname}` swallows `{given[0]}` in `**{extra}` and divides by the rank",
                (
                    (function.filename, call.loc, f"`{given[0]}` is passed here"),
                    (target.filename, target.facts.loc, f"and ends in `**{extra}`"),
                    (target.filename, quotient, "alpha is divided by the rank, whatever the flag says"),
                ),
            )


def _targets(model: Model, call: Call, function: Function) -> list[Function]:
    """The one function that a call runs, with what subclasses put in its place."""
    callees = model.project.callees(call.func, function, None)
    if len(callees) != 1:
        return []
    target = constructor(model.project, callees[0])
    if target is None:
        return []
    func = call.func
    if isinstance(func, Attr) and is_receiver(func.base, function) and function.owner is not None:
        return list(model.project.overrides(function.owner, func.name))
    return [target] if isinstance(callees[0], Class | Function) else []


def _passes_on(function: Function) -> bool:
    return any(isinstance(e.value, Call) and e.value.spread for e in function.events("call"))


def _mentions_flag(call: Call) -> bool:
    return any(_names_flag(term) for term in (*call.args, *(v for _, v in call.keywords)))


def _logs(call: Call) -> bool:
    return getattr(call.func, "name", "") in ("print", "info", "warning", "debug", "warn", "bool")


def _names_flag(term: Term) -> bool:
    return any(
        (isinstance(part, Param | Attr) and FLAG.fullmatch(part.name) is not None)
        or (isinstance(part, Const) and isinstance(part.value, str) and _ANY.search(part.value) is not None)
        for part in walk(term)
    )


def _sets_flag(function: Function) -> bool:
    """Does the function store the flag, for the callee to read from the object?"""
    return any(
        (isinstance(event.target, Attr) and _names_flag(event.target)) or _names_flag(event.value)
        for event in function.events("write")
    )
