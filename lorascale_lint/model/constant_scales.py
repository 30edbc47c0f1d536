"""A scale that is the literal 1 where an alpha was given, looked up or kept, and nothing uses it.

A constant alone is no bug: adapters may be trained at scale 1. It is one where the same function takes an
alpha beside the rank (or the factors that have it), or reads the alpha of a file, and lets it go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Item,
    Loc,
    Op,
    Param,
    Parameter,
    Term,
    children,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.model.applications import Step
from lorascale_lint.model.call_values import is_undecorated
from lorascale_lint.model.factor_products import effects
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Class, Function, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.scale_branches import parting
from lorascale_lint.model.scale_definitions import SCALE_NAME, ScaleDefinition, has_factors, scale_definitions
from lorascale_lint.model.unused_scale import UnusedScale
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side, is_alpha_key, key_side, number_role

_RSLORA = re.compile(r"(?i)(use_)?rs_?lora")
_ON_PURPOSE = re.compile(
    r"(?i)unused|not used|ignore|deprecat|compat|placeholder|reserved|no[- ]op|interface"
)
_CONFIGURED_ALPHA = frozenset(["lora_alpha", "network_alpha"])


def constant_scales(model: Model) -> Iterator[UnusedScale]:
    """Each constant scale once, with the alpha that it leaves out."""
    reported: set[tuple[str, Loc]] = set()
    definitions = [found for found in scale_definitions(model) if found.name and _is_one(found)]
    for found in (*definitions, *_locals(model)):
        function = found.function
        place = function.filename, found.value.loc
        if place in reported or _known_unscaled(model, function) or not is_undecorated(function):
            continue
        steps = (
            _unused_parameter(model, found)
            or _unused_lookup(function)
            or _unread_attribute(model, found)
            or other_branch_scales(model, found)
        )
        if steps:
            reported.add(place)
            yield UnusedScale(
                function,
                found.value.loc,
                found.event,
                f"`{found.name}` is the constant {_constant(found)} in `{function.facts.qualname}`, "
                "and alpha is left out",
                (*steps, (function.filename, found.loc, "the scale is a constant instead of alpha / rank")),
            )


def _is_one(found: ScaleDefinition) -> bool:
    return bool(found.leaves) and all(
        isinstance(leaf, Const) and not isinstance(leaf.value, bool) and leaf.value == 1
        for leaf in found.leaves
    )


def _constant(found: ScaleDefinition) -> str:
    return source_text(found.leaves[0])


def _locals(model: Model) -> Iterator[ScaleDefinition]:
    """Locals called scale, in functions that have both factors."""
    for function in model.functions:
        if is_test_file(function.filename) or not _has_both_factors(model, function):
            continue
        bound: dict[str, list[Event]] = {}
        for event in function.events("bind"):
            if SCALE_NAME.fullmatch(event.name):
                bound.setdefault(event.name, []).append(event)
        for name, events in bound.items():
            found = [ScaleDefinition(function, event, name, event.value, event.loc) for event in events]
            if all(map(_is_one, found)) and _is_used_local(model, function, events[-1]):
                yield found[-1]


def _is_used_local(model: Model, function: Function, event: Event) -> bool:
    return model.names.is_read(function, event.name, event.end_row)


def _known_unscaled(model: Model, function: Function) -> bool:
    """Is the delta of the function, or of its class, reported as unscaled already?"""
    return any(
        found.function is function or (function.owner is not None and found.owner is function.owner)
        for _, found, _ in model.unscaled
    )


def _has_both_factors(model: Model, function: Function) -> bool:
    words = (word.strip("\"'") for word in function.facts.words)
    return {"A", "B"} <= {factor_side(word, False) or key_side(word) for word in words} or bool(
        model.factor_products.of(function)
    )


# ---- an alpha that is taken ---------------------------------------------------------------


def _unused_parameter(model: Model, found: ScaleDefinition) -> tuple[Step, ...]:
    """The alpha that the function takes beside the rank or the factors, and does not use."""
    function = found.function
    alphas = [p for p in function.facts.parameters if _is_taken(p, ALPHA)]
    if len(alphas) != 1 or _ON_PURPOSE.search(model.names.docstring(function)):
        return ()
    beside = [
        p
        for p in function.facts.parameters
        if _is_taken(p, RANK) or factor_side(p.name, False) or p.name in ("down", "up")
    ]
    if not beside or _is_used(model, function, alphas[0].name):
        return ()
    text = f"`{function.facts.name}` takes `{alphas[0].name}` beside `{beside[0].name}`, and nothing uses it"
    return ((function.filename, alphas[0].loc, text),)


def _is_taken(parameter: Parameter, role: str) -> bool:
    return parameter.kind in ("plain", "keyword") and number_role(parameter.name, True) == role


def _is_used(model: Model, function: Function, name: str) -> bool:
    """Is the parameter part of what the function or one nested in it computes or keeps?"""
    prefix = f"{function.facts.qualname}."
    nested = [
        other
        for other in model.project.functions.values()
        if other.filename == function.filename and other.facts.qualname.startswith(prefix)
    ]
    return any(
        _uses(model, inner, event, lambda part: _is_parameter(part, function, name))
        for inner in (function, *nested)
        for event in effects(inner)
    )


def _is_parameter(part: Term, function: Function, name: str) -> bool:
    return isinstance(part, Param) and part.name == name and part.function == function.facts.qualname


def _uses(model: Model, function: Function, event: Event, is_alpha: Callable[[Term], bool]) -> bool:
    """Does the event do more with the alpha than ask whether it is None, convert it and keep it unread?"""
    target = event.target.base if isinstance(event.target, Item) else event.target
    if (
        event.kind == "write"
        and isinstance(target, Attr)
        and is_receiver(target.base, function)
        and number_role(target.name, True) == ALPHA
        and function.owner is not None
    ):
        return _is_read(model, function, target.name, event.row)
    if event.target is not None and any(map(is_alpha, walk(event.target))):
        return True
    if (
        isinstance(event.value, Call)
        and event.kind == "call"
        and callee_name(event.value) in ("isinstance", "item", "float", "detach")
    ):
        return False
    return any(map(is_alpha, _valued(event.value)))


def _valued(root: Term) -> Iterator[Term]:
    """Sub-terms, but for conditions that choose between equal constants."""
    pending, seen = [root], set[int]()
    while pending:
        term = pending.pop()
        if id(term) in seen:
            continue
        seen.add(id(term))
        yield term
        match term:
            case Choice(then=Const(value=first), other=Const(value=second)) if first == second:
                continue
            case _:
                pending.extend(children(term))


def _is_read(model: Model, function: Function, name: str, row: int) -> bool:
    """Does any code read the attribute, the places that fill a dictionary of it set aside?"""
    stored = {
        (write.function.filename, write.event.row)
        for write in (model.project.writes(function.owner, name) if function.owner is not None else ())
        if isinstance(write.event.target, Item)
    }
    stored.add((function.filename, row))
    return any((read.filename, read.row) not in stored for read in model.names.attribute_reads(name))


# ---- an alpha that is looked up -----------------------------------------------------------


def _unused_lookup(function: Function) -> tuple[Step, ...]:
    """The alpha of a file or configuration that the function binds to a name and does not use."""
    for event in function.events("bind"):
        looked_up = event.value
        while isinstance(looked_up, Call) and callee_name(looked_up) in ("float", "item", "int", "to"):
            inner = looked_up.args[0] if looked_up.args else getattr(looked_up.func, "base", None)
            if inner is None:
                break
            looked_up = inner
        if not is_looked_up_alpha(looked_up):
            continue
        used = any(part is event.value for effect in effects(function) for part in _rooted(effect))
        if not used:
            text = f"`{event.name}` is `{source_text(looked_up)}`, and nothing uses it"
            return ((function.filename, event.loc, text),)
    return ()


def _rooted(event: Event) -> list[Term]:
    """The terms of an effect; a lookup that is its own event (``pop``) is no use of its result."""
    parts = [*_valued(event.value), *(walk(event.target) if event.target is not None else ())]
    return [part for part in parts if not (event.kind == "call" and part is event.value)]


def is_looked_up_alpha(term: Term) -> bool:
    """Is ``term`` an alpha by the key that it is looked up under?"""
    match term:
        case Item(key=key) | Call(func=Attr(name="get" | "pop" | "get_tensor"), args=(key, *_)):
            text = key_pattern(key)
            return text in _CONFIGURED_ALPHA or text == "alpha" or (is_alpha_key(text) and "*" in text)
        case _:
            return False


# ---- an alpha that is kept ----------------------------------------------------------------


def _unread_attribute(model: Model, found: ScaleDefinition) -> tuple[Step, ...]:
    """The alpha that the class of the function stores from its constructor, and never reads."""
    function = found.function
    owner = function.owner
    if owner is None:
        return ()
    for member in model.project.ancestors(owner):
        step = _stored_alpha(model, member) or _declared_alpha(model, member)
        if step is not None:
            return (step,)
    return ()


def _stored_alpha(model: Model, cls: Class) -> Step | None:
    for method in model.project.methods(cls):
        for event in method.events("write"):
            target = event.target.base if isinstance(event.target, Item) else event.target
            if not (isinstance(target, Attr) and is_receiver(target.base, method)):
                continue
            if number_role(target.name, True) != ALPHA or is_none(event.value) or not has_factors(model, cls):
                continue
            taken = [
                p for p in walk(event.value) if isinstance(p, Param) and number_role(p.name, True) == ALPHA
            ]
            ranks = [p for p in method.facts.parameters if _is_taken(p, RANK)]
            if taken and ranks and not _is_read(model, method, target.name, event.row):
                text = f"`{cls.name}` keeps `{target.name}`, and nothing reads it"
                return method.filename, event.loc, text
    return None


def _declared_alpha(model: Model, cls: Class) -> Step | None:
    """A field of a configuration that has a rank too."""
    roles = {number_role(attribute.name, True): attribute for attribute in cls.facts.attributes}
    alpha, rank = roles.get(ALPHA), roles.get(RANK)
    if alpha is None or rank is None or model.names.attribute_reads(alpha.name):
        return None
    return (
        cls.filename,
        alpha.loc,
        f"`{cls.name}` has `{alpha.name}` beside `{rank.name}`, and nothing reads it",
    )


# ---- an alpha that the other branch divides -----------------------------------------------


def other_branch_scales(model: Model, found: ScaleDefinition) -> tuple[Step, ...]:
    """Where the same scale is computed from alpha and the rank, on the other branch of an rsLoRA flag."""
    function = found.function
    frame = model.evaluator.frame(function)
    target = found.event.target
    if target is None:
        return ()
    for event in function.events("write"):
        if event is found.event or event.target is None or event.sign:
            continue
        guard = parting(event.guards, found.event.guards)
        if (
            guard is None
            or not _asks_for_rslora(guard.test)
            or source_text(event.target) != source_text(target)
        ):
            continue
        value = model.evaluator.single(event.value, frame)
        if isinstance(value, Number) and value.scale.is_trained:
            text = f"`{source_text(event.target)}` is `{source_text(event.value)}` on the other branch"
            return ((function.filename, event.loc, text),)
    return ()


def _asks_for_rslora(test: Term) -> bool:
    named = [part.name for part in walk(test) if isinstance(part, Attr | Param)]
    return any(map(_RSLORA.fullmatch, named)) and not any(isinstance(part, Op) for part in walk(test))
