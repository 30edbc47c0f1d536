"""Merges that may add to a merged weight, in layers that keep the factors of one adapter."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import KEEPERS
from lorascale_lint.ledger.backups import backups
from lorascale_lint.ledger.entries import Store, Use
from lorascale_lint.ledger.factor_setters import Setter
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.marks import MANY
from lorascale_lint.provenance.values import Place, Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Accumulation:
    """A setter whose parameter ``flag``, if it is ``accumulates``, merges without the unmerge before.

    ``unmerging`` is the guarded call of ``unmerge``, in ``merge`` or in the setter itself; ``restores`` says
    that ``unmerge`` puts a saved weight back, and so takes all adapters out.
    """

    setter: Setter
    merge: FunctionInfo
    unmerge: FunctionInfo
    unmerging: Use
    flag: str
    accumulates: bool
    restores: bool

    def condition(self, given: str) -> str:
        """Source that is true where ``given``, an argument for the flag, asks for the unmerge."""
        return f"not {given}" if self.accumulates else given

    def overwrites(self, ledger: Ledger) -> Store | None:
        """The store that replaces a factor, None if the setter keeps the factors somewhere else, too."""
        function, stores = self.setter.function, tuple(self.setter.factors.values())
        factors = {path for store in stores for path in _paths(store.value)} & set(function.parameters)
        fields = {store.field for store in stores}
        others = [s.value for s in ledger.stores if s.spot.function is function and s.field not in fields]
        others += [write.value for write in ledger.writes if write.spot.function is function]
        for use in ledger.uses:
            own = use.callee is None and (use.name.startswith("self.") or use.called in KEEPERS)
            if use.spot.function is function and not use.spot.chain and (own or use.callee is not None):
                others += use.given.values()
        if any(factors.intersection(_paths(value)) for value in others):
            return None
        return min(stores, key=lambda store: store.spot.row)


def accumulations(ledger: Ledger, family: Family) -> Iterator[Accumulation]:
    """Setters of the layer that merge, and may leave the former adapter in the weight."""
    functions = {f for cls in family.members for f in cls.methods.values()}
    applied = [a for a in ledger.applies if a.spot.function in functions]
    merges = dict.fromkeys(a.spot.function for a in applied if a.kind == "merge")
    if not merges:
        return
    restoring = {store.spot.function for backup in backups(ledger) for store, _ in backup.put_back}
    takes_back = (restoring & functions) | {a.spot.function for a in applied if a.kind == "unmerge"}
    calls = ledger.once(_calls)
    for setter in family.setters:
        for merge in merges:
            call = next((u for u in calls if u.spot.function is setter.function and u.callee is merge), None)
            if merge is None or call is None or merge in takes_back:
                continue
            for place in (merge, setter.function):
                found = _guarded(calls, place, takes_back)
                if found is None:
                    continue
                unmerging, flag, accumulates = found
                given = flag if place is not merge else getattr(call.given.get(flag), "path", "")
                default = setter.function.default(given)
                if isinstance(default, ast.Constant) and default.value is (not accumulates):
                    assert isinstance(unmerging.callee, FunctionInfo)
                    restores = unmerging.callee in restoring
                    yield Accumulation(
                        setter, merge, unmerging.callee, unmerging, given, accumulates, restores
                    )


def given_flag(ledger: Ledger, accumulation: Accumulation, function: FunctionInfo | None) -> str | None:
    """The parameter of ``function`` that it gives to the setter as the flag."""
    for use in ledger.uses:
        if use.spot.function is function and function is not None and not use.spot.chain:
            name = getattr(use.given.get(accumulation.flag), "path", "")
            if use.callee is accumulation.setter.function and name in function.parameters:
                return str(name)
    return None


def merged_again(ledger: Ledger, found: Accumulation) -> Use | None:
    """A call of the merge by code that gives the layer no factors and leaves the flag alone."""
    setter, merge = found.setter.function, found.merge
    sets = {use.spot.function for use in ledger.uses if use.callee is setter or use.called == setter.name}
    for use in ledger.uses:
        # An element of a collection is a layer, where objects of several classes have such a method.
        receiver = use.name.removesuffix(f".{merge.name}")
        element = receiver != use.name and (receiver.endswith("]") or receiver == MANY)
        known = use.callee is merge or (use.callee is None and element)
        elsewhere = use.spot.function not in (setter, merge, found.unmerge, *sets)
        if known and elsewhere and not use.given and not use.spot.chain and not use.spot.file.is_test:
            return use
    return None


def _calls(ledger: Ledger) -> list[Use]:
    return [use for use in ledger.uses if not use.spot.chain and isinstance(use.callee, FunctionInfo)]


def _guarded(
    calls: list[Use], function: FunctionInfo, unmerges: set[FunctionInfo | None]
) -> tuple[Use, str, bool] | None:
    """The call of an unmerge that one parameter can suppress: its name, and the value that does."""
    found = [use for use in calls if use.spot.function is function and use.callee in unmerges]
    rows = {use.spot.row for use in found}
    if len(rows) != 1:
        return None
    atoms = [(name.partition("@")[0], holds) for name, holds in found[0].guards]
    flags = [(name, not holds) for name, holds in atoms if name in function.parameters]
    return (found[0], *flags[0]) if len(flags) == 1 else None


def _paths(value: Value) -> Iterator[str]:
    """The names of the factors in a value."""
    for option in options(value):
        match option.value:
            case Place(path=path):
                yield path
            case Tensor(kind="A" | "B", origin=origin):
                yield origin
            case Tup(items=items):
                for item in items:
                    yield from _paths(item)
            case _:
                pass
