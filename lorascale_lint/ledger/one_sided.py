"""Deltas that one branch, method or class scales and its sibling does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.roles import STRENGTH
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.conditions import explains, expression, parting, test_of
from lorascale_lint.ledger.ends import End, ends
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.families import family_of_class, scale_free_modes
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.numbers import bare, scale_of, trained
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.ledger.scaled_sums import scaled_sums
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.unscaled import unscaled
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Multiplied, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class OneSided:
    """A delta at ``spot`` that is not scaled where its sibling is, by ``step``.

    ``ends`` are what should be multiplied; where one statement uses the delta behind a condition, ``branch``
    is the test, and whether it is met on the branch that lacks the scale.
    """

    spot: Spot
    text: str
    trace: tuple[tuple[Spot, str], ...]
    step: Multiplied
    ends: tuple[End, ...]
    confidence: Confidence = "high"
    branch: tuple[ast.expr, bool] | None = None


def one_sided(ledger: Ledger) -> Iterator[OneSided]:
    """Every unscaled delta beside a scaled one, the nearest comparison first."""
    made = ends(ledger)
    told = [found.application for found in unscaled(ledger)]
    told += [found.application for found in scaled_sums(ledger)]
    reported = {id(application.spot.node) for application in told}
    for found in (*_branches(ledger, made), *_methods(ledger, made), *_classes(ledger, made)):
        silent = found.spot.file.is_test or found.spot.function in ledger.changed
        if id(found.spot.node) not in reported and not silent:
            reported.add(id(found.spot.node))
            yield found


def _is_bare(end: End) -> bool:
    """Is there nothing but a strength on the delta, and no condition that says why? A gate may stand in."""
    return _is_plain(end) and not any(explains(name) for name, _ in end.guards)


def _is_plain(end: End) -> bool:
    plain = bare(end.scale) and all(symbol.role == STRENGTH for symbol, _ in end.scale.powers)
    return plain and end.trained is None


# ---- branches of one function ---------------------------------------------------------------


def _branches(ledger: Ledger, made: dict[FunctionInfo, list[End]]) -> Iterator[OneSided]:
    for function, own in made.items():
        family = family_of_class(ledger, function.owner)
        modes = scale_free_modes(ledger, family) if family is not None else set()
        scaled = [(end, step) for end in own if (step := end.trained) is not None]
        for end in own:
            if not _is_plain(end):
                continue
            here = [other for other, _ in scaled if other.spot.node is end.spot.node]
            if any(parting(end.guards, other.guards) is None for other in here):
                continue  # scaled here as well: a helper leaves out a factor of 1
            telling = [atom for atom in end.guards if explains(atom[0])]
            for other, step in scaled:
                condition = parting(end.guards, other.guards)
                if condition is None or not all(atom in other.guards for atom in telling):
                    continue  # what both meet tells nothing
                test = test_of(function, condition[0])
                if test is None:
                    continue
                name, holds = condition
                if (name.partition("@")[0], holds) in modes:
                    continue
                same = other.spot.node is end.spot.node
                yield OneSided(
                    end.spot,
                    f"`{function.qualname}` scales the delta only if {_told(name, not holds)}",
                    (
                        (step.spot, f"`{text_of(step)}` is multiplied on in one branch"),
                        (end.spot, f"where {_told(name, holds)}, that line is not reached"),
                        (end.spot, "and the delta leaves here without the trained scale"),
                    ),
                    step,
                    (end,),
                    branch=(test, holds) if same else None,
                )
                break


def _told(name: str, holds: bool) -> str:
    node = expression(name)
    text = name if node is None else ast.unparse(node)
    return f"`{text}`" if holds else f"not `{text}`"


# ---- methods of one class -------------------------------------------------------------------


def _methods(ledger: Ledger, made: dict[FunctionInfo, list[End]]) -> Iterator[OneSided]:
    """Methods that return the bare product, beside one that scales it, and are used as they are."""
    for method, own in made.items():
        if method.owner is None or method.name in CONSTRUCTORS or any(end.kind != "return" for end in own):
            continue
        if not all(_is_bare(end) for end in own):
            continue
        other = next(
            (
                (step, sibling)
                for sibling, theirs in made.items()
                for end in theirs
                if sibling.owner is method.owner and (step := end.trained) and trained(end.scale)
            ),
            None,
        )
        if other is None or _is_scaled_elsewhere(ledger, made, method, own):
            continue
        callers = [use.spot for use in calls_of(ledger, method)]
        if not callers and method.name not in CALLED_BY_FRAMEWORK:
            continue
        step, sibling = other
        used = tuple((spot, f"`{spot.name}` uses it as it is") for spot in callers[:2])
        yield OneSided(
            own[0].spot,
            f"`{method.qualname}` leaves out the trained scale of `{sibling.name}`",
            (
                (step.spot, f"`{sibling.qualname}` multiplies by `{text_of(step)}`"),
                (own[0].spot, "and this is the same product without it"),
                *used,
            ),
            step,
            tuple(own),
            "high" if callers else "medium",
        )


def _is_scaled_elsewhere(
    ledger: Ledger, made: dict[FunctionInfo, list[End]], method: FunctionInfo, own: list[End]
) -> bool:
    """Is a product of the method scaled, or lost out of sight, by code that calls it?"""
    rows = {row for end in own for row in end.rows}
    others = [
        end
        for function, theirs in made.items()
        if function is not method and function.file is method.file
        for end in theirs
    ]
    if any(rows.intersection(end.rows) and not bare(end.scale) for end in others):
        return True
    if any(cls is not None and method.owner in ledger.lineage(cls) for cls in _folding(ledger)):
        return True
    return any(
        isinstance(step.before, Tensor)
        and rows.intersection(step.before.rows)
        and step.spot.file is method.file
        and (trained(step.scale) or bool(step.scale.unknowns()))
        and step.spot.function is not method
        for step in ledger.multiplied
    )


def _folding(ledger: Ledger) -> set[ClassInfo | None]:
    return {fold.spot.cls for fold in ledger.folds}


# ---- classes of one hierarchy -----------------------------------------------------------------


def _classes(ledger: Ledger, made: dict[FunctionInfo, list[End]]) -> Iterator[OneSided]:
    """A class that inherits the scale which a sibling multiplies on, and never uses it."""
    by_class: dict[ClassInfo, list[End]] = {}
    for function, own in made.items():
        if function.owner is not None and function.name not in CONSTRUCTORS:
            by_class.setdefault(function.owner, []).extend(own)
    for cls, own in by_class.items():
        line = ledger.lineage(cls)
        if not all(_is_bare(end) for end in own) or any(f.spot.cls in line for f in ledger.folds):
            continue
        if all(_is_for_ancestors(end, line[1:]) for end in own):
            continue
        for sibling, theirs in by_class.items():
            shared = [item for item in ledger.lineage(sibling) if item in line[1:]]
            if sibling in line or cls in ledger.lineage(sibling) or not shared:
                continue
            step = next((step for end in theirs if (step := end.trained) is not None), None)
            keeper = None if step is None else _keeper(ledger, shared, step)
            if step is None or keeper is None:
                continue
            yield OneSided(
                own[0].spot,
                f"`{cls.name}` never uses the trained scale that `{sibling.name}` applies",
                (
                    (keeper.spot, f"both classes get it from `{keeper.spot.function.owner.name}`"),  # type: ignore[union-attr]
                    (step.spot, f"`{sibling.name}` multiplies by `{text_of(step)}`"),
                    (own[0].spot, "and this is the bare product"),
                ),
                step,
                tuple(own),
            )
            break


def _is_for_ancestors(end: End, above: list[ClassInfo]) -> bool:
    """Does it leave a method that overrides one of an ancestor, whose other methods scale what that gives?"""
    function = end.spot.function
    return end.kind == "return" and any(
        function is not None and function.name in cls.methods for cls in above
    )


def _keeper(ledger: Ledger, shared: list[ClassInfo], step: Multiplied) -> Store | None:
    """Where an ancestor of both classes keeps the number of ``step``."""
    name = step.number.attr if isinstance(step.number, ast.Attribute) else ""
    for entry in ledger.stores:
        function = entry.spot.function
        if entry.field == name and function is not None and function.owner in shared:
            scales = (scale_of(option.value) for option in options(entry.value))
            if any(scale is not None and trained(scale) for scale in scales):
                return entry
    return None


# ---- what a repair may write ------------------------------------------------------------------


def scalar_at(ledger: Ledger, found: OneSided, end: End) -> str | None:
    """The number as the function of ``end`` may write it there; None where it can't be named."""
    number, there, here = found.step.number, found.step.spot.function, end.spot.function
    if number is None or there is None or here is None:
        return None
    receivers = [
        f.parameters[0] if f.owner and not f.is_static and f.parameters else "" for f in (there, here)
    ]
    for name in {node.id for node in ast.walk(number) if isinstance(node, ast.Name)}:
        if name == receivers[0] == receivers[1]:
            continue
        if there is not here or not (name in here.parameters or _is_bound_before(ledger, here, name, end)):
            return None
    text = ast.unparse(number)
    return f"({text})" if isinstance(number, ast.BinOp) else text


def _receiver(function: FunctionInfo) -> str | None:
    bound = function.owner is not None and not function.is_static
    return function.parameters[0] if bound and function.parameters else None


def _is_bound_before(ledger: Ledger, function: FunctionInfo, name: str, end: End) -> bool:
    """Is a local set once, before ``end`` and wherever that is reached?"""
    binds = {
        id(bind.spot.node): bind
        for bind in ledger.binds
        if bind.name == name and bind.spot.function is function and not bind.spot.chain
    }
    if len(binds) != 1:
        return False
    (bind,) = binds.values()
    return bind.spot.row < end.spot.row and set(bind.guards) <= set(end.guards)
