"""Layers that tell the arguments of their constructor, by which they are rebuilt, and leave alpha out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import READS_UNNAMED, TELLS_ARGUMENTS
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor, default_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
class LeftOut:
    """``spot`` tells the rank and not ``alpha``, which the constructor has a ``default`` for."""

    cls: ClassInfo
    spot: Spot
    alpha: str
    declared: Spot


def left_out_of_config(ledger: Ledger) -> Iterator[LeftOut]:
    """Each class once."""
    told = _told(ledger)
    seen: set[ClassInfo] = set()
    for given in ledger.returns:
        function, cls = given.spot.function, given.spot.cls
        if cls is None or function is None or cls in seen or given.spot.file.is_test or not _tells(function):
            continue
        init = constructor(ledger, cls)
        alphas = [n for n in init.parameters if role_of(n, True) == ALPHA] if init is not None else []
        if init is None or len(alphas) != 1 or default_of(init, alphas[0]) is None:
            continue
        line = [cls.methods[function.name] for cls in ledger.lineage(cls) if function.name in cls.methods]
        names = {name for item in line for name, _ in told[item]}
        ranks = [n for n in init.parameters if role_of(n, True) == RANK and n in names]
        read = {name for item in line for name in (*item.attributes_read, *item.names_read)}
        if not ranks or alphas[0] in names | read or not read.isdisjoint(READS_UNNAMED):
            continue
        seen.add(cls)
        spot = next(at for item in line for name, at in told[item] if name == ranks[0])
        declared = Spot(init.file, init, init.owner, init.argument(alphas[0]) or init.node)
        yield LeftOut(cls, spot, alphas[0], declared)


def _tells(function: FunctionInfo | None) -> bool:
    return function is not None and function.owner is not None and function.name in TELLS_ARGUMENTS


def _told(ledger: Ledger) -> dict[FunctionInfo, list[tuple[str, Spot]]]:
    """The arguments that such a method names, and where."""
    found: dict[FunctionInfo, list[tuple[str, Spot]]] = defaultdict(list)
    for write in ledger.writes:
        function = write.spot.function
        if function is not None and _tells(function):
            found[function].append((literal_of(write.key), write.spot))
    for use in ledger.uses:
        function = use.spot.function
        if function is not None and _tells(function):
            found[function] += [(name, use.spot) for name in use.given]
    return found
