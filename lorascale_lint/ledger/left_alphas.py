"""Alphas that a class leaves in the configuration from which it takes its rank, or its factors."""

from __future__ import annotations

import ast

from lorascale_lint.knowledge.interfaces import ADAPTER_FILES, ALPHA_FIELD, CONFIGURATION_CLASSES
from lorascale_lint.knowledge.operations import OPERATIONS
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, RANK, A, B, key_role, role_of, words
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_real_factor, key_role_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import Ref, Tensor, Text, Value, options


def left_alpha(ledger: Ledger, family: Family) -> tuple[Spot, str] | None:
    """What shows that a configuration states an alpha which nobody takes for the factors of the classes."""
    if any(_may_scale(use) for use in ledger.uses if use.spot.cls in family.members):
        return None
    return _of_project(ledger, family) or _of_peft(ledger, family)


def _of_project(ledger: Ledger, family: Family) -> tuple[Spot, str] | None:
    """The class takes the rank of a configuration whose alpha is computed with elsewhere only."""
    ranks: dict[ClassInfo, Spot] = {}
    alphas: set[ClassInfo] = set()
    for read in ledger.field_reads:
        role, own = role_of(read.field, True), read.spot.cls in family.members
        for cls in _classes(read.owner):
            if role == RANK and own:
                ranks.setdefault(cls, read.spot)
            elif role == ALPHA and own:
                alphas.add(cls)
    for cls, spot in ranks.items():
        alpha = next((name for name in cls.attributes if role_of(name, True) == ALPHA), None)
        used = any(
            read.field == alpha and cls in _classes(read.owner) and not read.spot.file.is_test
            for read in ledger.field_reads
        )
        if alpha and cls not in alphas and (used or (cls.key, alpha) in ledger.fields_read):
            return spot, f"the class takes its rank of this configuration, and leaves `{alpha}`"
    return None


def _of_peft(ledger: Ledger, family: Family) -> tuple[Spot, str] | None:
    """The class loads PEFT's configuration beside both factors, and nothing reads its alpha."""
    reads = [read for read in ledger.reads if read.spot.cls in family.members]
    sides = {key_role_of(read.key) for read in reads if is_real_factor(read.value)}
    sides |= {side for side in (A, B) if _keeps_entry(ledger, family, side)}
    if not {A, B} <= sides or any((cls, ALPHA_FIELD) in ledger.fields_read for cls in ("", "<settings>")):
        return None
    if any(read.key == Text((ALPHA_FIELD,)) for read in ledger.reads):
        return None
    uses = [use for use in ledger.uses if use.spot.cls in family.members]
    loaded = next((use for use in uses if _loads_settings(use)), None)
    if loaded is None:
        return None
    held = {use.result for use in uses if _gives_settings(use, loaded)}
    if not held or any(use.callee is None and not held.isdisjoint(use.given.values()) for use in uses):
        return None  # code out of sight may scale by it
    return loaded.spot, "this configuration states alpha and the rank, and nothing reads its alpha"


def _keeps_entry(ledger: Ledger, family: Family, side: str) -> bool:
    """Does the class keep a factor that it found under some key of a table?"""
    return any(
        (_is_entry(value.origin) and value.kind == side)
        if isinstance(value, Tensor)
        else role_of(store.field, True) == side and _is_entry(getattr(value, "path", ""))
        for store in ledger.stores
        if store.spot.cls in family.members
        for value in (option.value for option in options(store.value))
    )


def _is_entry(path: str) -> bool:
    """Does a value come from under a key that may be a factor's: one of all, or one that ends like it?"""
    inside = path.partition("[{")[2]
    end = inside.rpartition("}")[2].partition("]")[0]
    return bool(inside) and (not end or key_role(end) is not None)


def _gives_settings(use: Use, loaded: Use) -> bool:
    """Is this the call that names the file, or one around it (``json.load(open(join(path, name)))``)?"""
    if _reads_peft(use):
        return True
    outer, inner = use.spot, loaded.spot
    same = outer.file is inner.file and outer.chain == inner.chain and outer.node is not inner.node
    return same and any(node is inner.node for node in ast.walk(outer.node))


def _reads_peft(use: Use) -> bool:
    owner, _, last = use.name.rpartition(".")
    return owner.rpartition(".")[2] in CONFIGURATION_CLASSES and last.startswith("from_")


def _loads_settings(use: Use) -> bool:
    if _reads_peft(use):
        return True
    pieces = (part for value in use.given.values() if isinstance(value, Text) for part in value.parts)
    return any(isinstance(piece, str) and ADAPTER_FILES[0] in piece for piece in pieces)


def _may_scale(use: Use) -> bool:
    """Is a method of the object out of sight, and called like one that multiplies?"""
    owner, _, name = use.name.rpartition(".")
    if use.callee is not None or owner != "self":
        return False
    return OPERATIONS.get(name) in ("multiply", "divide", "power") or any(
        role_of(word, True) in NUMBERS for word in words(name)
    )


def _classes(owner: Value) -> list[ClassInfo]:
    found = (option.value for option in options(owner))
    return [value.cls for value in found if isinstance(value, Ref) and value.cls is not None]
