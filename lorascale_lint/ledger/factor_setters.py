"""Methods of classes that are given both factors and keep them."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, SCALING, A, B, role_of
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.origins import root_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Place, Ref, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class Setter:
    """A method that is given both factors and keeps them."""

    function: FunctionInfo
    factors: dict[str, Store]

    def parameter(self, side: str) -> str | None:
        """The parameter that gives the factor of a side."""
        for option in options(self.factors[side].value):
            path = getattr(option.value, "path", "") or getattr(option.value, "origin", "")
            name = root_of(path)
            if name in self.function.parameters:
                return str(name)
        return None

    @property
    def alpha_parameter(self) -> str | None:
        """The parameter that takes alpha, or a whole scale."""
        roles = {name: role_of(name, True) for name in self.function.parameters}
        return next((name for name, role in roles.items() if role in (ALPHA, SCALING)), None)


def setters(ledger: Ledger) -> dict[ClassInfo, list[Setter]]:
    """Methods that keep both factors, by the class in which they stand."""
    stored: dict[FunctionInfo, dict[str, Store]] = defaultdict(dict)
    for entry in ledger.stores:
        function = entry.spot.function
        if function is None or function.owner is None or function.name in CONSTRUCTORS or entry.spot.chain:
            continue
        side = _side(entry)
        if side is not None:
            stored[function][side] = entry
    found: dict[ClassInfo, list[Setter]] = defaultdict(list)
    for function, factors in stored.items():
        if set(factors) == {A, B} and function.owner is not None:
            found[function.owner].append(Setter(function, factors))
    return found


def replaced(ledger: Ledger) -> dict[FunctionInfo, dict[str, Spot]]:
    """Where methods put both factors from their parameters, also into rows of a place for several ranks."""
    found: dict[FunctionInfo, dict[str, Spot]] = defaultdict(dict)
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for entry in entries:
        function, side = entry.spot.function, _side(entry)
        if function is None or function.owner is None or entry.spot.chain or side is None:
            continue
        if function.name not in CONSTRUCTORS:
            found[function][side] = entry.spot
    return {function: spots for function, spots in found.items() if set(spots) == {A, B}}


def _side(entry: Store | KeyWrite) -> str | None:
    """The side of a factor that a parameter gave: in its field, or the data or rows of one."""
    if isinstance(entry, KeyWrite):
        owner, side = entry.container, getattr(entry.container, "kind", None)
    else:
        owner = entry.owner
        side = role_of(entry.field, True) if isinstance(owner, Ref) else getattr(owner, "kind", None)
    side = getattr(owner, "role", None) if isinstance(owner, Place) else side
    given = [option.value for option in options(entry.value)]
    names = () if entry.spot.function is None else entry.spot.function.parameters
    from_parameter = any(
        (isinstance(value, Place) and root_of(value.path) in names)
        or (isinstance(value, Tensor) and root_of(value.origin) in names)
        for value in given
    )
    return side if side in (A, B) and from_parameter else None
