"""User ratios multiplied onto both factors of a delta, so that their product holds the square."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Guard,
    Item,
    Loc,
    Op,
    Param,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.values import Delta, Factor
from lorascale_lint.model.vocabulary import key_role, key_side

_RATIO = re.compile(
    r"(?i)_?(lora_|merge_|adapter_|model_|user_)?(ratio|weight|strength|multiplier|coef\w*|scale|alpha|beta|w|wt|mix)"
    r"s?(_?(\d|[abi]))?"
)
_STRICT_RATIO = re.compile(
    r"(?i)_?(lora_|merge_|adapter_|user_)?(ratio|strength|multiplier)s?(_?(\d|[abi]))?|(lora|adapter|merge)_weights?"
)
_KEEPS = frozenset("to float half type astype item clone detach cpu cuda contiguous data bfloat16".split())
_ROOTS = frozenset(["sqrt", "rsqrt"])


@dataclass(frozen=True, slots=True, eq=False)
class SquaredRatio:
    """``ratio`` stands on both factors; ``linear`` is a place that gives the same delta one of it."""

    function: Function
    event: Event
    loc: Loc
    ratio: str
    first: Loc
    second: Loc
    linear: tuple[Function, Loc] | None
    entry: Loc | None = None
    """Where the entry is read that stands for both factors."""


def squared_ratios(model: Model) -> Iterator[SquaredRatio]:
    """Each place once, in file order."""
    for function in model.functions:
        if not is_test_file(function.filename):
            names = {id(event.value): event.name for event in function.events("bind")}
            yield from _in_dictionaries(model, function, names)
            yield from _on_tensors(model, function, names)


# ---- every entry of an adapter file --------------------------------------------------------


def _in_dictionaries(model: Model, function: Function, names: dict[int, str]) -> Iterator[SquaredRatio]:
    """``merged[key] = sd[key] * ratio`` for the keys of both factors alike."""
    if not _names_factor_keys(function):
        return
    for event in function.events("write"):
        target = event.target
        if not isinstance(target, Item) or key_role(key_pattern(target.key)) or _asks_for_side(event.guards):
            continue
        for term in walk(event.value):
            parts = _product_parts(term)
            entry = next((part for part in parts if _is_entry(part, target.key)), None)
            if entry is None:
                continue
            atoms, rooted, by_side = [], False, False
            for part in parts:
                if part is not entry:
                    more, root = _atoms(part)
                    atoms += more
                    rooted, by_side = rooted or root, by_side or _by_side(part)
            ratio = next((n for atom in atoms if (n := _ratio_name(atom, names, _STRICT_RATIO))), None)
            if ratio is None or by_side:
                continue
            linear = _linear_use(model, function)
            if rooted or linear is not None:
                yield SquaredRatio(function, event, term.loc, ratio, term.loc, term.loc, linear)
                return


def _product_parts(term: Term) -> list[Term]:
    """What a chain of products multiplies; nothing for any other term."""
    if not (isinstance(term, Op) and term.sign == "*"):
        return []
    parts: list[Term] = []
    for operand in (term.left, term.right):
        parts += _product_parts(operand) or [operand]
    return parts


def _names_factor_keys(function: Function) -> bool:
    return any("lora_" in word and word[-1:] in "\"'" for word in function.facts.words)


def _is_entry(term: Term, key: Term) -> bool:
    """``sd[key]`` for the same key, or the value that goes with it in ``for key, value in sd.items()``."""
    term = _stripped(term)
    if not isinstance(term, Item):
        return False
    if isinstance(term.base, Element):
        return isinstance(key, Item) and key.base is term.base and key is not term
    return term.key is key or source_text(term.key) == source_text(key) != "..."


def _asks_for_side(guards: tuple[Guard, ...]) -> bool:
    return any(
        isinstance(part, Const) and isinstance(part.value, str) and key_side(part.value) is not None
        for guard in guards
        for part in walk(guard.test)
    )


def _by_side(scalar: Term) -> bool:
    """Does the scalar differ between the factors, in more than its sign?"""
    return any(
        isinstance(part, Choice)
        and part.test is not None
        and _asks_for_side((Guard(part.test, True),))
        and not _same_size(part.then, part.other)
        for part in walk(scalar)
    )


def _same_size(left: Term, right: Term) -> bool:
    """Are two terms equal but for an ``abs``?"""
    inner = [
        term.args[0]
        if isinstance(term, Call) and getattr(term.func, "name", "") == "abs" and term.args
        else term
        for term in (left, right)
    ]
    return inner[0] is inner[1]


def _linear_use(model: Model, function: Function) -> tuple[Function, Loc] | None:
    """A function of the same file that multiplies a ratio onto the product of both factors once."""
    for other in model.functions:
        if other.filename != function.filename or other is function:
            continue
        names = {id(event.value): event.name for event in other.events("bind")}
        frame = model.evaluator.frame(other)
        for _, term in each_term(other.facts.events):
            if isinstance(term, Op) and term.sign == "*":
                for tensor, scalar in ((term.left, term.right), (term.right, term.left)):
                    if _ratio_name(scalar, names, _STRICT_RATIO) and any(
                        isinstance(a.value, Delta) for a in model.evaluator.values(tensor, frame)
                    ):
                        return other, term.loc
    return None


# ---- two tensors ---------------------------------------------------------------------------


def _on_tensors(model: Model, function: Function, names: dict[int, str]) -> Iterator[SquaredRatio]:
    """``(ratio * up) @ (ratio * down)``."""
    frame = model.evaluator.frame(function)
    for event, term in each_term(function.facts.events):
        operands: tuple[Term, ...] = ()
        if isinstance(term, Op) and term.sign == "@":
            operands = (term.left, term.right)
        elif isinstance(term, Call) and getattr(term.func, "name", "") in ("mm", "matmul", "bmm", "dot"):
            receiver = term.func.base if isinstance(term.func, Attr) else None
            library = model.evaluator.calls.is_library_call(term, frame)
            operands = term.args if library or receiver is None else (receiver, *term.args)
        if len(operands) != 2:
            continue
        left, right = (_on_factor(model, operand, frame, names) for operand in operands)
        if left is None or right is None or left[0] == right[0]:
            continue
        for text, (name, first) in left[1].items():
            if text in right[1]:
                yield SquaredRatio(function, event, term.loc, name, first, right[1][text][1], None)
                break


def _on_factor(
    model: Model, term: Term, frame: Frame, names: dict[int, str]
) -> tuple[str, dict[str, tuple[str, Loc]]] | None:
    """Side of a scaled factor, and the ratios on it by their text."""
    found: dict[str, tuple[str, Loc]] = {}
    term = _stripped(term)
    while isinstance(term, Op) and term.sign == "*":
        sides = [_side(model, operand, frame) for operand in (term.left, term.right)]
        if (sides[0] is None) == (sides[1] is None):
            return None
        tensor, scalar = (term.left, term.right) if sides[0] is not None else (term.right, term.left)
        for atom in _atoms(scalar)[0]:
            name = _ratio_name(atom, names, _RATIO)
            if name is not None:
                found[f"{id(atom) if isinstance(atom, Item | Element) else source_text(atom)}"] = (
                    name,
                    term.loc,
                )
        term = _stripped(tensor)
    side = _side(model, term, frame)
    return (side, found) if side is not None and found else None


def _side(model: Model, term: Term, frame: Frame) -> str | None:
    sides = {a.value.side for a in model.evaluator.values(term, frame) if isinstance(a.value, Factor)}
    return sides.pop() if len(sides) == 1 else None


# ---- scalars -------------------------------------------------------------------------------


def _atoms(scalar: Term) -> tuple[list[Term], bool]:
    """Factors of a scalar product outside of any root, and whether there is a root in it."""
    atoms: list[Term] = []
    rooted = False
    pending = [scalar]
    while pending:
        term = _stripped(pending.pop())
        if isinstance(term, Op) and term.sign == "*":
            pending += [term.left, term.right]
        elif isinstance(term, Op) and term.sign == "/":
            pending.append(term.left)
        elif _is_root(term):
            rooted = True
        elif isinstance(term, Call) and getattr(term.func, "name", "") == "abs" and term.args:
            pending.append(term.args[0])
        elif isinstance(term, Choice) and _same_size(term.then, term.other):
            pending.append(term.other)
        else:
            atoms.append(term)
    return atoms, rooted


def _is_root(term: Term) -> bool:
    if isinstance(term, Op):
        return term.sign == "**"
    return isinstance(term, Call) and getattr(term.func, "name", "") in _ROOTS


def _ratio_name(term: Term, names: dict[int, str], pattern: re.Pattern[str]) -> str | None:
    """Name of a term that is a user's ratio: a parameter, an attribute, or an element of a list of them."""
    term = _stripped(term)
    if isinstance(term, Param | Attr | Global):
        name = term.name
    elif isinstance(term, Item | Element):
        name = names.get(id(term), "")
    else:
        return None
    return name if pattern.fullmatch(name) else None


def _stripped(term: Term) -> Term:
    while True:
        if isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name in _KEEPS:
            term = term.func.base
        elif isinstance(term, Attr) and term.name in _KEEPS:
            term = term.base
        else:
            return term
