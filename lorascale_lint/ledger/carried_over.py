"""Scales that a loop sets for some modules, and that meet the factors of the next module without one."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lorascale_lint.ledger.entries import Apply, Bind
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import loops_of
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Guards, Multiplied, options


@dataclass(frozen=True, slots=True, eq=False)
class CarriedOver:
    """``start`` is before the loop, ``taken`` in it under a condition, and ``used`` also without that."""

    start: Bind
    taken: Bind
    used: Apply


def carried_over(ledger: Ledger) -> Iterator[CarriedOver]:
    """One for each name that is set before a loop and, in it, only for modules that have an alpha."""
    names: dict[tuple[FunctionInfo, str], list[Bind]] = defaultdict(list)
    for bind in ledger.binds:
        if bind.spot.function is not None and not bind.spot.chain and not bind.spot.file.is_test:
            names[bind.spot.function, bind.name].append(bind)
    own = ledger.once(ByFunction)
    for (function, name), binds in names.items():
        inside = [bind for bind in binds if loops_of(bind.guards)]
        taken = inside[0] if inside else None
        if taken is None or any(bind.spot.node is not taken.spot.node for bind in inside):
            continue
        conditions = _after_the_loop(taken.guards)
        before = [bind for bind in binds if not loops_of(bind.guards) and bind.spot.row < taken.spot.row]
        if not before or not conditions or not _is_trained(taken):
            continue
        without = {(atom, not holds) for atom, holds in conditions}
        for apply in own.applies.get(function, ()):
            loops = loops_of(taken.guards) <= loops_of(apply.guards)
            bare = not without.isdisjoint(apply.guards) and apply.spot.row > taken.spot.row
            if loops and bare and _multiplies(own.multiplied.get(function, ()), name):
                yield CarriedOver(before[-1], taken, apply)
                break


def _after_the_loop(guards: Guards) -> Guards:
    """The conditions of the innermost loop's body."""
    loops = loops_of(guards)
    last = max(index for index, (name, _) in enumerate(guards) if name in loops)
    return guards[last + 1 :]


def _is_trained(bind: Bind) -> bool:
    scales = [scale for option in options(bind.value) if (scale := scale_of(option.value)) is not None]
    return any(trained(scale) for scale in scales)


def _multiplies(steps: Iterable[Multiplied], name: str) -> bool:
    """Is the number of that name multiplied onto something?"""
    return any(
        isinstance(part, ast.Name) and part.id == name
        for step in steps
        if step.number is not None
        for part in ast.walk(step.number)
    )
