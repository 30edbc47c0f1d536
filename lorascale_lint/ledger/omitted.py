"""Forward methods that replace one which adds the delta, and add none."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import DELTALESS_BASES
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.entries import Return, Use
from lorascale_lint.ledger.families import Family, families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted
from lorascale_lint.provenance.values import Const, Place, Ref, Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Omitted:
    """``override`` gives the base's output without the delta that ``application`` adds.

    ``base_call`` is where it computes that, and ``others`` are further calls that do, of something else than
    its result. ``missing`` are attributes that it reads of itself and nothing ever sets.
    """

    family: Family
    application: Application
    override: FunctionInfo
    base_call: Use
    others: tuple[Use, ...]
    missing: tuple[Spot, ...]


def omitted(ledger: Ledger) -> Iterator[Omitted]:
    """Overrides in subclasses of a layer whose own forward adds the delta, each once."""
    for family in families(ledger):
        if not family.setters or not any(item.kind == "merge" for item in family.applications):
            continue
        seen: set[FunctionInfo] = set()
        for application in family.applications:
            function = application.spot.function
            if application.kind != "forward" or function is None or function.owner is None:
                continue
            for cls in family.members:
                override = cls.methods.get(function.name)
                heir = cls is not function.owner and function.owner in ledger.lineage(cls)
                if override is None or override in seen or not heir or cls.file.is_test:
                    continue
                found = _omitted(ledger, family, application, cls, override)
                if found is not None:
                    seen.add(override)
                    yield found


def _omitted(
    ledger: Ledger, family: Family, application: Application, cls: ClassInfo, override: FunctionInfo
) -> Omitted | None:
    returned = [given for given in ledger.returns if given.spot.function is override and not given.spot.chain]
    uses = [use for use in ledger.uses if use.spot.function is override and not use.spot.chain]
    calls = [use for use in uses if _is_base(use.result) and isinstance(use.spot.node, ast.Call)]
    if not calls or not returned or not all(map(_gives_base, returned)) or not _knows_bases(ledger, cls):
        return None
    if any(_hands_on(value) for use in uses for value in use.given.values()):
        return None
    first, *later = calls
    derived = _derived(override, first.spot.node)
    others = tuple(use for use in later if not _has(use.spot.node, first.spot.node, derived))
    missing = tuple(_missing(ledger, family, cls, override))
    return Omitted(family, application, override, first, others, missing)


def _derived(function: FunctionInfo, call: ast.AST) -> set[str]:
    """The names that a function gives to what is computed from a call's result."""
    found: set[str] = set()
    assigned = (node for node in ast.walk(function.node) if isinstance(node, ast.Assign))
    for node in sorted(assigned, key=lambda node: node.lineno):
        if _has(node.value, call, found):
            targets = (part for target in node.targets for part in ast.walk(target))
            found |= {part.id for part in targets if isinstance(part, ast.Name)}
    return found


def _has(node: ast.AST, call: ast.AST, names: set[str]) -> bool:
    return any(part is call or (isinstance(part, ast.Name) and part.id in names) for part in ast.walk(node))


def _gives_base(given: Return) -> bool:
    """Is the output of the base given back, alone or first of several?"""
    return all(
        _is_base(
            option.value.items[0] if isinstance(option.value, Tup) and option.value.items else option.value
        )
        for option in options(given.value)
    )


def _is_base(value: Value) -> bool:
    found = [option.value for option in options(value)]
    kinds = {item.kind for item in found if isinstance(item, Tensor)}
    roles = {item.role for item in found if isinstance(item, Place)}
    return len(found) > 0 and not any(isinstance(item, Const) for item in found) and kinds | roles == {"base"}


def _hands_on(value: Value) -> bool:
    """Is the object itself or a factor of it given away?"""
    return any(
        (isinstance(option.value, Ref) and option.value.kind == "object" and option.value.cls is not None)
        or (isinstance(option.value, Tensor) and option.value.kind in ("A", "B", "half", "delta"))
        for option in options(value)
    )


def _missing(ledger: Ledger, family: Family, cls: ClassInfo, override: FunctionInfo) -> Iterator[Spot]:
    known = family.names(ledger) | {name for item in ledger.lineage(cls) for name in item.setters}
    for node in ast.walk(override.node):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Load()) if name not in known:
                yield Spot(override.file, override, cls, node)
            case _:
                pass


def _knows_bases(ledger: Ledger, cls: ClassInfo) -> bool:
    """Are all bases of the class and its ancestors in the project, or of a kind that adds no delta?"""
    line = ledger.lineage(cls)
    known = {item.name for item in line} | DELTALESS_BASES
    bases = (base for item in line for base in item.node.bases)
    return all(
        dotted(base.value if isinstance(base, ast.Subscript) else base).rpartition(".")[2] in known
        for base in bases
    )
