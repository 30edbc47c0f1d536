"""Weights of the base that an adapter's layer gives out as its own, and what multiplies by them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import HAVE_WEIGHT, MULTIPLIES_BY_WEIGHT, READS_WEIGHT_OF
from lorascale_lint.knowledge.roles import BASE
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.conditions import is_of_class, names_in
from lorascale_lint.ledger.entries import Apply, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.switches import is_own
from lorascale_lint.linking.definitions import ClassInfo, dotted
from lorascale_lint.provenance.values import Place, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class HandedWeight:
    """``given`` is where the layer's ``weight`` is that of its base, ``read`` where that is multiplied by.

    ``reader`` is what does so; ``forward`` adds the delta, which nobody calls there.
    """

    given: Spot
    read: Spot
    reader: str
    forward: Apply
    confidence: Confidence = "high"


def handed_weights(ledger: Ledger) -> Iterator[HandedWeight]:
    """One for each place that reads the weight of such a layer."""
    layers = _layers(ledger)
    if not layers:
        return
    seen: set[ast.AST] = set()
    held = _held(ledger, layers)
    for use in ledger.uses:
        name = MULTIPLIES_BY_WEIGHT.get(use.name)
        node = None if name is None or use.spot.chain or use.spot.file.is_test else _weight(use, name)
        cls = held.get((use.spot.cls, node)) if node else None
        if cls is not None and use.spot.node not in seen and use.spot.cls is not cls:
            seen.add(use.spot.node)
            yield HandedWeight(layers[cls][0], use.spot, f"`{use.called}`", layers[cls][1])
    for store in ledger.stores:
        cls = store.value.cls if isinstance(store.value, Ref) else None
        readers = READS_WEIGHT_OF.get(store.field)
        if cls not in layers or readers is None or store.spot.chain or store.spot.file.is_test:
            continue
        if store.spot.node not in seen and not isinstance(store.owner, Ref):
            seen.add(store.spot.node)
            sure = _is_one_of(store, readers)
            how: Confidence = "high" if sure else "medium"
            yield HandedWeight(layers[cls][0], store.spot, f"`{readers}`", layers[cls][1], how)


def _layers(ledger: Ledger) -> dict[ClassInfo, tuple[Spot, Apply]]:
    """Classes whose forward adds a delta, and whose ``weight`` is that of the base at all times."""
    forwards: dict[ClassInfo, Apply] = {}
    merging: set[ClassInfo | None] = set()
    for apply in ledger.applies:
        if apply.kind != "forward":
            merging.add(apply.spot.cls)
        elif apply.spot.cls is not None and apply.factors and not apply.spot.chain:
            forwards.setdefault(apply.spot.cls, apply)
    found: dict[ClassInfo, Spot] = {}
    for given in ledger.returns:
        function, cls = given.spot.function, given.spot.cls
        if function is None or cls not in forwards or function.name != "weight" or given.spot.chain:
            continue
        if function.has("property") and _is_base(given.value):
            found.setdefault(cls, given.spot)
    for store in ledger.stores:
        function, cls = store.spot.function, store.spot.cls
        if function is None or function.name not in CONSTRUCTORS or cls not in forwards or store.spot.chain:
            continue
        if store.field == "weight" and is_own(store) and _is_base(store.value):
            found.setdefault(cls, store.spot)
    for cls, forward in forwards.items():
        weight = forward.base.origin if isinstance(forward.base, Tensor) else ""
        if weight and _is_layer_of_library(cls) and "weight" not in cls.methods:
            found.setdefault(cls, forward.spot)
    return {cls: (spot, forwards[cls]) for cls, spot in found.items() if cls not in merging}


def _is_layer_of_library(cls: ClassInfo) -> bool:
    """Does it inherit the weight of a layer of torch: ``class LoRALinear(nn.Linear)``?"""
    return any(dotted(base).rpartition(".")[2] in HAVE_WEIGHT for base in cls.node.bases)


def _is_base(value: Value) -> bool:
    """Is it the weight of the base, and on no way anything with a delta?"""
    kinds = {
        one.role if isinstance(one, Place) else getattr(one, "kind", "")
        for one in (option.value for option in options(value))
    }
    return kinds == {BASE}


Holder = tuple[ClassInfo | None, str]


def _held(ledger: Ledger, layers: dict[ClassInfo, tuple[Spot, Apply]]) -> dict[Holder, ClassInfo]:
    """Fields of objects that hold such a layer, as their methods call them."""
    found: dict[Holder, ClassInfo] = {}
    for store in ledger.stores:
        cls = store.value.cls if isinstance(store.value, Ref) else None
        if cls in layers and isinstance(store.owner, Ref) and store.owner.cls is not None:
            found[store.owner.cls, f"self.{store.field}"] = cls
    return found


def _weight(use: Use, position: int) -> str:
    """The layer whose ``weight`` is multiplied by, as it is written; empty for anything else."""
    call = use.spot.node
    given = call.args[position] if isinstance(call, ast.Call) and len(call.args) > position else None
    if isinstance(call, ast.Call) and given is None:
        given = next((keyword.value for keyword in call.keywords if keyword.arg == "weight"), None)
    return dotted(given.value) if isinstance(given, ast.Attribute) and given.attr == "weight" else ""


def _is_one_of(store: Store, kind: str) -> bool:
    """Is it such a module into which the layer is put, by its annotation or by what was asked?"""
    last = kind.rpartition(".")[2]
    owner = store.owner.path if isinstance(store.owner, Place) else ""
    function = store.spot.function
    noted = function is not None and last in names_in(function.annotation(owner))
    return noted or is_of_class(last, store.guards)
