"""Applications by place: what several looks at the same line of code say together."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.roles import ALPHA, SCALING, STRENGTHS, A, B
from lorascale_lint.ledger.entries import Apply, Fold, Product
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.origins import root_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, is_test
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import ENTRY
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Multiplied, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Branch:
    """One effective scale that an application may have, and when."""

    scale: Scale
    guards: Guards
    layout: str = ""
    steps: tuple[Multiplied, ...] = ()
    """Each number that was multiplied onto the delta or a factor, in order."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the scale is not known; empty if it is."""
        return self.scale.unknowns()


@immutable(frozen=True, slots=True, eq=False)
class Application:
    """A place where a delta meets its base, or where a factor that goes elsewhere is scaled."""

    spot: Spot
    kind: str
    branches: tuple[Branch, ...]
    variant: str
    factors: str = ""
    """Where the factors came from, as in `Apply`; empty where several looks say different things."""
    rows: tuple[int, ...] = ()
    operand: int = 1
    base: Value | None = None

    @property
    def formula(self) -> str:
        """The scales as text: known ones first, ``unknown`` once."""
        texts = dict.fromkeys(branch.scale.formula() for branch in self.branches)
        known = [text for text in texts if text != "unknown"]
        return " | ".join([*sorted(known, key=_complexity), *(["unknown"] if "unknown" in texts else [])])

    @property
    def reasons(self) -> tuple[str, ...]:
        """What stands between the branches that are not known and their scale."""
        return tuple(dict.fromkeys(reason for branch in self.branches for reason in branch.reasons))

    @property
    def fixed_fields(self) -> set[str]:
        """Fields that multiply the delta and are plain numbers here: a literal, or what a caller gave."""
        steps = (step for branch in self.branches for step in branch.steps if step.scale.constant is not None)
        return {
            part.attr
            for step in steps
            for part in (ast.walk(step.number) if step.number is not None else ())
            if isinstance(part, ast.Attribute)
        }


Family = tuple[str, str]
"""File and class whose factors are used; an empty class where no object is known to hold them."""


def family_of(application: Application) -> Family:
    """Whose factors the application uses."""
    cls = application.spot.cls
    holder = _holder(application.factors)
    if cls is not None and (holder == "self" or not application.factors):
        holder = cls.name
    return (application.spot.file.filename, holder)


def _holder(factors: str) -> str:
    """The class in ``Class.field``."""
    holder, dot, _ = factors.rpartition(".")
    return holder if dot and holder.isidentifier() else ""


def _complexity(text: str) -> tuple[int, str]:
    """The trained scale before what is left of it where there is no alpha."""
    return (0 if "alpha" in text else 1, text)


def applications(ledger: Ledger) -> list[Application]:
    """One application for each place, in the order of files and rows."""
    return ledger.once(_applications)


def _applications(ledger: Ledger) -> list[Application]:
    places: dict[tuple[str, int, int, str], list[Apply]] = defaultdict(list)
    for entry in ledger.applies:
        places[place_of(entry)].append(entry)
    tried: dict[tuple[str, int, int, str], list[Apply]] = defaultdict(list)
    for trial in ledger.trials:  # keys that a loop builds are known letter by letter there
        for entry in trial.ledger.applies:
            tried[place_of(entry)].append(entry)
    called = {place[:3] for place, looks in places.items() if any(entry.spot.chain for entry in looks)}
    for place, entries in tried.items():
        if place[:3] in called and any(map(_by_key_alone, entries)):
            continue  # callers in sight give what is under that key
        if place not in places or (
            any(entry.scale.unknowns() for entry in places[place])
            and not any(entry.scale.unknowns() for entry in entries)
        ):
            places[place] = entries
    found = [joined(entries) for entries in places.values()]
    return sorted(found, key=lambda item: (item.spot.file.filename, item.spot.row))


def _by_key_alone(entry: Apply) -> bool:
    """Is a number of the scale none of the file, and known by the name of its key?"""
    return any(symbol.origin.startswith(ENTRY) for symbol, _ in entry.scale.powers)


def place_of(entry: Apply) -> tuple[str, int, int, str]:
    """What entries of one place have in common."""
    spot = entry.spot
    return spot.file.filename, spot.row, getattr(spot.node, "col_offset", 0), entry.kind


def joined(entries: list[Apply]) -> Application:
    """What several looks at one place say together."""
    entries = _where_heirs_know(entries)
    chains: dict[tuple[str, ...], list[Apply]] = defaultdict(list)
    for entry in entries:
        chains[entry.spot.chain].append(entry)
    if not entries[0].spot.file.is_test:  # a test calls with a rank and an alpha of its own
        chains = {chain: group for chain, group in chains.items() if not _by_test(chain)} or chains
    known = {chain: group for chain, group in chains.items() if not any(e.scale.unknowns() for e in group)}
    # Callers that are in sight say more than names; a look that knows says more than one that does not.
    called = {chain: group for chain, group in known.items() if chain}
    looks = called or _with_what_is_given(chains)
    best = [entry for group in looks.values() for entry in group]
    instances = _instances([{entry.scale.by_role() for entry in group} for group in looks.values()])
    branches: dict[Scale, Branch] = {}
    for entry in best:
        if entry.scale.by_role() in instances:
            continue
        branches.setdefault(
            entry.scale.by_role() if not entry.scale.unknowns() else entry.scale,
            Branch(entry.scale, entry.guards, entry.layout, entry.steps),
        )
    factors = {entry.factors for entry in entries if _holder(entry.factors)} or {e.factors for e in best}
    variants = [entry.variant for entry in best if entry.variant != "lora"]
    return Application(
        best[0].spot,
        best[0].kind,
        tuple(branches.values()),
        variants[0] if variants else "lora",
        factors.pop() if len(factors) == 1 else "",
        best[0].rows,
        best[0].operand,
        best[0].base,
    )


def _where_heirs_know(entries: list[Apply]) -> list[Apply]:
    """Without what a class leaves open, where all that inherit the method know: it may be abstract."""
    function = entries[0].spot.function
    own = None if function is None else function.owner
    unsure = {entry.spot.cls for entry in entries if entry.scale.unknowns()}
    heirs = {entry.spot.cls for entry in entries} - {own}
    left_open = own is not None and any(info.is_left_open for info in own.methods.values())
    if not (own in unsure or left_open) or not heirs or heirs & unsure:
        return entries
    return [e for e in entries if e.spot.cls is not own or not (left_open or e.scale.unknowns())]


def _with_what_is_given(chains: dict[tuple[str, ...], list[Apply]]) -> dict[tuple[str, ...], list[Apply]]:
    """The looks of callers, where these decide what it is: alone the name of a parameter would say it."""
    alone = chains.get((), [])
    given = not any(map(_is_trained, alone)) and any(map(_is_given, alone))
    return {chain: group for chain, group in chains.items() if chain or not given} or chains


def _is_trained(entry: Apply) -> bool:
    """Is alpha in the scale, or a scaling that is no parameter of the function?"""
    roles = {symbol.role: symbol.origin for symbol, _ in entry.scale.powers}
    return ALPHA in roles or (SCALING in roles and root_of(roles[SCALING]) not in _parameters(entry))


def _is_given(entry: Apply) -> bool:
    """Are the factors, or numbers on them, parameters of the function?"""
    origins = [entry.factors, *(symbol.origin for symbol, _ in entry.scale.powers)]
    return any(root_of(origin) in _parameters(entry) for origin in origins)


def _parameters(entry: Apply) -> tuple[str, ...]:
    function = entry.spot.function
    return () if function is None else (*function.parameters, *function.annotations)


def _by_test(chain: tuple[str, ...]) -> bool:
    return any(is_test(call.rpartition(":")[0]) for call in chain)


def _instances(looks: list[set[Scale]]) -> set[Scale]:
    """Scales that are another caller's at one value of its strength, as of a script that passes 1.0."""
    general: set[_Powers] = set()
    together: set[_Powers] = set()
    for look in looks:
        left = {kept for scale in look if (kept := _without_strength(scale)) != scale.powers}
        general |= left
        together |= left & {scale.powers for scale in look}
    return {scale for look in looks for scale in look if scale.powers in general - together}


_Powers = tuple[tuple[Symbol, Fraction], ...]


def _without_strength(scale: Scale) -> _Powers:
    return tuple(item for item in scale.powers if item[0].role not in STRENGTHS)


def products(ledger: Ledger) -> list[Product]:
    """One product for each place: the best that any look made of it, or the way that it is applied."""
    return _best(ledger.products, ledger.applies)


def shown_products(ledger: Ledger) -> list[Product]:
    """One product for each place, also of those that only a trial on an adapter file has come to."""
    tried = [trial.ledger for trial in ledger.trials]
    made = [*ledger.products, *(entry for other in tried for entry in other.products)]
    return _best(made, [*ledger.applies, *(entry for other in tried for entry in other.applies)])


def _best(made: Sequence[Product], applies: Sequence[Apply]) -> list[Product]:
    order = {"delta": 0, "half": 1, "other": 2, "unknown": 3}
    places: dict[tuple[object, ...], Product] = {}
    for entry in made:
        node = entry.spot.node
        ends = (getattr(node, name, 0) for name in ("col_offset", "end_lineno", "end_col_offset"))
        key = (entry.spot.file.filename, entry.spot.row, *ends)
        if key not in places or order[entry.kind] < order[places[key].kind]:
            places[key] = entry
    applied = {(apply.spot.function, row) for apply in applies for row in apply.rows}
    for key, entry in places.items():
        if entry.kind == "other" and entry.reasons and (entry.spot.function, entry.spot.row) in applied:
            places[key] = replace(entry, kind="delta", reasons=())
    return sorted(places.values(), key=lambda item: (item.spot.file.filename, item.spot.row))


def folds(ledger: Ledger) -> list[Fold]:
    """Folds, one for each place, whose product nobody sees.

    Where the product stands in the same function or class, or in a function that is called from there, its
    application tells the scale.
    """
    made = [entry.spot for entry in ledger.products if entry.kind in ("delta", "half")]
    seen_by = {(spot.file.filename, spot.name) for spot in made}
    classes = {id(_class(entry.spot)) for entry in ledger.applies if _class(entry.spot) is not None}
    calls = _calls(ledger)
    return [
        entry
        for entry in _all_folds(ledger)
        if (entry.spot.file.filename, entry.spot.name) not in seen_by
        and id(_class(entry.spot)) not in classes
        and not _leads_to(entry.spot, calls)
    ]


def shown_folds(ledger: Ledger) -> list[Fold]:
    """Folds, one for each place; where the product is seen as well only those whose scale is known.

    None in a function that calls the one where the product is: its application tells the scale.
    """
    alone = {id(entry) for entry in folds(ledger)}
    calls = _calls(ledger)
    return [
        entry
        for entry in _all_folds(ledger)
        if id(entry) in alone or (not entry.scale.unknowns() and not _leads_to(entry.spot, calls))
    ]


def _calls(ledger: Ledger) -> set[str]:
    """Calls that lead to an application."""
    return {place for entry in ledger.applies for place in entry.spot.chain}


def _all_folds(ledger: Ledger) -> list[Fold]:
    sides = _sides(ledger)
    found: dict[tuple[str, int], Fold] = {}
    for entry in (*ledger.folds, *(fold for trial in ledger.trials for fold in trial.ledger.folds)):
        spot = entry.spot
        if _has_no_pair(sides, _class(spot)):
            continue
        known = found.get((spot.file.filename, spot.row))
        if (
            known is None
            or (known.scale.unknowns() and not known.scale.has_earlier)
            or (_is_part(known.spot.node, spot.node) and not entry.scale.unknowns())
        ):
            found[spot.file.filename, spot.row] = entry
    return list(found.values())


def _is_part(node: ast.AST, whole: ast.AST) -> bool:
    """Is ``node`` an operand of ``whole``: ``w * alpha`` of ``w * alpha / rank``?"""
    return node is not whole and any(inner is node for inner in ast.walk(whole))


def _sides(ledger: Ledger) -> dict[ClassInfo, set[str]]:
    """Which factors the objects of each class, or of one that inherits from it, make and train."""
    found: dict[ClassInfo, set[str]] = defaultdict(set)
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is not None:
            held = [option.value for option in options(store.value)]
            kept = {tensor.kind for tensor in held if isinstance(tensor, Tensor) and tensor.learned}
            for cls in ledger.lineage(store.owner.cls):
                found[cls] |= kept & {A, B}
    return found


def _has_no_pair(sides: dict[ClassInfo, set[str]], cls: ClassInfo | None) -> bool:
    """Does the class train one factor alone: a vector that scales, as of (IA)^3?"""
    return cls is not None and len(sides.get(cls, ())) == 1


def _class(spot: Spot) -> ClassInfo | None:
    return spot.function.owner if spot.function is not None and spot.function.owner is not None else None


def _leads_to(spot: Spot, calls: set[str]) -> bool:
    """Is a call in the rows of the spot's function on the way to an application?"""
    return spot.function is not None and not spot.function.steps.isdisjoint(calls)
