"""Scales that a loop sets for some modules, and that meet the factors of the next module without one."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Apply, Bind, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import loops_of
from lorascale_lint.ledger.numbers import number_origins
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import LEFT, Scale


@immutable(frozen=True, slots=True, eq=False)
class CarriedOver:
    """``taken`` is in a loop under a condition, ``used`` also without that, and ``start`` before the loop."""

    taken: Bind
    used: Apply | Fold
    start: Bind | None


def carried_over(ledger: Ledger) -> Iterator[CarriedOver]:
    """One for each name under which the round before has left an alpha to the next module."""
    seen: set[tuple[FunctionInfo | None, str]] = set()
    uses: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for used in uses:
        function = used.spot.function
        if used.spot.chain or used.spot.file.is_test:
            continue
        for origin in filter(_is_of_a_module, _left(used.scale)):
            own = [b for b in ledger.binds if b.spot.function is function and not b.spot.chain]
            found = [bind for bind in own if loops_of(bind.guards) and origin in number_origins(bind.value)]
            taken = next((b for b in found if _after_the_loop(b.guards)), found[0] if found else None)
            if taken is None or (function, taken.name) in seen or not _is_without(used.guards, taken):
                continue
            seen.add((function, taken.name))
            start = [b for b in own if b.name == taken.name and b.spot.row < taken.spot.row]
            yield CarriedOver(taken, used, next((b for b in start if not loops_of(b.guards)), None))


def _left(scale: Scale) -> Iterator[str]:
    """Origins of the alphas above that the round before has left; no other alpha stands beside them."""
    above = [symbol.origin for symbol, power in scale.powers if symbol.role == ALPHA and power > 0]
    if all(origin.startswith(LEFT) for origin in above):
        yield from (origin.partition(": ")[2] for origin in above)


def _is_of_a_module(origin: str) -> bool:
    """Was it asked for by the name of a module, and not met among all keys or in a configuration?"""
    return "[" in origin and not origin.endswith("}]") and ("{" in origin or "[*]" in origin)


def _after_the_loop(guards: Guards) -> Guards:
    """The conditions of the innermost loop's body; none outside of a loop."""
    loops = loops_of(guards)
    last = max((index for index, (name, _) in enumerate(guards) if name in loops), default=len(guards))
    return guards[last + 1 :]


def _is_without(guards: Guards, taken: Bind) -> bool:
    """Is it used where the module has no alpha, and not only where the first round is over?"""
    inside = {name.partition("@")[0] for name, _ in _after_the_loop(guards)}
    return loops_of(taken.guards) <= loops_of(guards) and bool(inside - {taken.name})
