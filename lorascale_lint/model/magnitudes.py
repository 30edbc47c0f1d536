"""The learned magnitude of DoRA layers on its way to and from files."""

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
    Item,
    Loc,
    Mapping,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.applications import Step
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Class, Function, is_receiver, is_test_file
from lorascale_lint.model.vocabulary import factor_side

MAGNITUDE = re.compile(
    r"(?i)_?(dora_?(scale|m|mag\w*|vec\w*|weight)|(lora_|weight_|dora_)?magnitudes?(_vec\w*)?)"
)
_WORD = re.compile(r"(?i)dora|magnitude|weight_decomp|decompose_weight|\bwd\b|wd_on")
_FLAG = re.compile(r"(?i)(use_?|is_?|enable_?)?dora|weight_decomp\w*|decompose_weight|wd")
_KEY_SIDES = (
    re.compile(r"lora_?(A|a|down)(?![a-z])|(hada|lokr)_w[12]_a$|lora\.down|\ba[12]\b"),
    re.compile(r"lora_?(B|b|up)(?![a-z])|(hada|lokr)_w[12]_b$|lora\.up|\bb[12]\b"),
)
_PARAMETERS = frozenset(["Parameter", "register_parameter", "register_buffer", "UninitializedParameter"])
_NORMS = frozenset(["norm", "vector_norm", "matrix_norm"])
_WHOLE = frozenset("state_dict named_parameters named_buffers parameters get_peft_model_state_dict".split())


@dataclass(frozen=True, slots=True, eq=False)
class SavedFactors:
    """``function`` writes the factor ``attribute`` at ``factor``; ``first`` is the first entry it writes.

    ``condition`` says, of the receiver in braces, whether a layer has the ``magnitude``; empty if each has.
    """

    function: Function
    first: Event
    factor: Event
    attribute: str
    magnitude: str
    condition: str


@dataclass(frozen=True, slots=True, eq=False)
class DroppedMagnitude:
    """``function`` writes or rebuilds a DoRA layer at ``loc`` without its magnitude."""

    function: Function
    event: Event
    loc: Loc
    message: str
    steps: tuple[Step, ...]
    saved: SavedFactors | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Magnitude:
    """The attribute ``name`` of a class, which ``function`` makes at ``event``."""

    name: str
    function: Function
    event: Event


def dropped_magnitudes(model: Model) -> Iterator[DroppedMagnitude]:
    """Savers and builders of classes with a magnitude that never name it."""
    magnitudes = _magnitudes(model)
    for cls, magnitude in magnitudes.items():
        origin = (
            magnitude.function.filename,
            magnitude.event.loc,
            f"`{cls.name}` has a learned magnitude",
        )
        for ancestor in model.project.ancestors(cls):
            for method in model.project.methods(ancestor):
                found = _saver(model, method, magnitude, origin)
                if found is not None:
                    yield found
    names = frozenset(cls.name for cls in magnitudes)
    for function in model.project.functions.values():
        if not is_test_file(function.filename) and not _speaks(function, names):
            yield from _builders(model, function, magnitudes)


def _magnitudes(model: Model) -> dict[Class, _Magnitude]:
    """Classes that make a magnitude."""
    found: dict[Class, _Magnitude] = {}
    for function in model.project.functions.values():
        if function.owner is None or not _speaks(function):
            continue
        for event in function.events("write"):
            target = event.target
            if (
                isinstance(target, Attr)
                and is_receiver(target.base, function)
                and MAGNITUDE.fullmatch(target.name)
                and any(
                    isinstance(part, Call) and getattr(part.func, "name", "") in _PARAMETERS
                    for part in walk(event.value)
                )
            ):
                found.setdefault(function.owner, _Magnitude(target.name, function, event))
    return found


def magnitude_statistics(model: Model) -> frozenset[str]:
    """What magnitudes are made as, where it is not a norm: ``mean`` of ``weight.mean(dim=1)``."""
    return frozenset(
        part.func.name
        for function in model.project.functions.values()
        for event in function.events("write")
        if isinstance(event.target, Attr) and MAGNITUDE.fullmatch(event.target.name)
        for part in walk(event.value)
        if isinstance(part, Call) and isinstance(part.func, Attr | Global) and part.func.name not in _NORMS
    )


def _speaks(function: Function, ignored: frozenset[str] = frozenset()) -> bool:
    words = (function.facts.qualname, *function.facts.words)
    return any(_WORD.search(word) for word in words if word not in ignored)


# ---- savers --------------------------------------------------------------------------------


def _saver(model: Model, method: Function, magnitude: _Magnitude, origin: Step) -> DroppedMagnitude | None:
    """``method`` gathers both factors of its own object under literal keys, and not the magnitude."""
    keys: list[tuple[str, Event, Loc]] = []
    for event in method.events("write"):
        target = event.target
        if isinstance(target, Item) and _is_own(event.value, method) and not is_receiver(target.base, method):
            keys.append((key_pattern(target.key), event, event.loc))
    for event, term in each_term(method.facts.events):
        if isinstance(term, Mapping):
            keys.extend((key_pattern(k), event, k.loc) for k, v in term.pairs if _is_own(v, method))
    sides = [next((key for key in keys if side.search(key[0])), None) for side in _KEY_SIDES]
    first, second = sides
    if first is None or second is None:
        return None
    reach = model.project.reachable(method, 2)
    if any(_speaks_of(function, magnitude.name) for function in reach):
        return None
    _, event, loc = min(keys, key=lambda key: (key[2].row, key[2].column))
    message = f"`{method.facts.qualname}` saves both factors of a DoRA layer and not `{magnitude.name}`"
    return DroppedMagnitude(
        method,
        event,
        loc,
        message,
        (
            origin,
            (method.filename, first[2], "one factor is saved"),
            (method.filename, second[2], "and the other"),
        ),
        _saved(method, magnitude, event, first[1]),
    )


def _saved(method: Function, magnitude: _Magnitude, first: Event, factor: Event) -> SavedFactors | None:
    """How the factors are saved, if under the names of their attributes, each by a statement of its own."""
    names = [
        part.name for part in walk(factor.value) if isinstance(part, Attr) and is_receiver(part.base, method)
    ]
    target = factor.target
    key = key_pattern(target.key) if isinstance(target, Item) else ""
    attribute = next((name for name in names if name in key), None)
    if attribute is None or first.kind != "write" or factor.guards != first.guards:
        return None
    condition = f'hasattr({{}}, "{magnitude.name}")' if magnitude.event.guards else ""
    if len(magnitude.event.guards) == 1:
        (guard,) = magnitude.event.guards
        flag = _stored_flag(magnitude.function, guard.test)
        if flag is not None:
            condition = f"{'' if guard.holds else 'not '}{{}}.{flag}"
    return SavedFactors(method, first, factor, attribute, magnitude.name, condition)


def _stored_flag(function: Function, test: Term) -> str | None:
    """The attribute that ``test`` reads, or that its parameter is stored in for good."""
    if isinstance(test, Attr) and is_receiver(test.base, function):
        return test.name
    return next(
        (
            event.target.name
            for event in function.events("write")
            if event.value is test
            and not event.guards
            and isinstance(event.target, Attr)
            and is_receiver(event.target.base, function)
        ),
        None,
    )


def _is_own(term: Term, method: Function) -> bool:
    return any(
        isinstance(part, Attr)
        and is_receiver(part.base, method)
        and (factor_side(part.name, True) is not None or re.match(r"(hada|lokr|lora|[ab][12])", part.name))
        for part in walk(term)
    )


def _speaks_of(function: Function, magnitude: str) -> bool:
    """Does the function name the magnitude, or take whatever the module holds?"""
    if any(_WORD.search(word) and word not in function.facts.qualname for word in function.facts.words):
        return True
    if magnitude in function.facts.words:
        return True
    called = {
        event.value.func.name
        for event in function.events("call")
        if isinstance(event.value, Call) and isinstance(event.value.func, Attr | Global)
    }
    return bool(called & _WHOLE)


# ---- builders ------------------------------------------------------------------------------


def _builders(
    model: Model, function: Function, magnitudes: dict[Class, _Magnitude]
) -> Iterator[DroppedMagnitude]:
    """Layers made from loaded tensors without the flag that makes them DoRA layers."""
    for event in function.events("bind"):
        call = event.value
        if not isinstance(call, Call) or call.spread:
            continue
        for callee in model.project.callees(call.func, function, None):
            made = callee if isinstance(callee, Class) else None
            if made is None:
                continue
            owner = next((c for c in model.project.ancestors(made) if c in magnitudes), None)
            init = model.project.method(made, "__init__")
            if owner is None or init is None:
                continue
            flag = next((p for p in init.facts.parameters if _FLAG.fullmatch(p.name)), None)
            if flag is None or not isinstance(flag.default, Const) or flag.default.value not in (False, None):
                continue
            position = [p.name for p in init.positional].index(flag.name) if flag.kind == "plain" else 10**6
            if call.argument(position, flag.name) is not None:
                continue
            copies = _copies(function, call)
            if len(copies) < 2:
                continue
            magnitude = magnitudes[owner]
            where = magnitude.function.filename, magnitude.event.loc
            yield DroppedMagnitude(
                function,
                event,
                call.loc,
                f"`{function.facts.qualname}` rebuilds `{made.name}` from its tensors without "
                f"`{flag.name}`, so a DoRA file is applied as plain LoRA",
                (
                    (*where, f"`{owner.name}` has a learned magnitude, `{magnitude.name}`"),
                    (init.filename, flag.loc, f"`{flag.name}` switches it on, off by default"),
                    (function.filename, call.loc, "the layer is made without it"),
                    (function.filename, copies[0], "and filled with loaded tensors"),
                ),
            )


def _copies(function: Function, made: Call) -> list[Loc]:
    """Where tensors of the new object are overwritten with tensors that come from outside."""
    found: dict[str, Loc] = {}
    for event in function.events("call", "write"):
        target = event.target
        if event.kind == "call" and isinstance(event.value, Call):
            func = event.value.func
            target = func.base if isinstance(func, Attr) and func.name == "copy_" else None
        names = []
        while isinstance(target, Attr):
            names.append(target.name)
            target = target.base
        if target is made and names:
            found.setdefault(names[-1], event.loc)
    return list(found.values())
