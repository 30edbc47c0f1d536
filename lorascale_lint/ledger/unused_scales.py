"""Scales and strengths that are computed, kept or taken, and reach no delta."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.intent import LOGS, on_purpose
from lorascale_lint.knowledge.interfaces import LAYER_LIBRARIES, PLAIN_BASES
from lorascale_lint.knowledge.members import ANY_ATTRIBUTE
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, STRENGTH, STRENGTHS
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.class_fields import Field, Kept
from lorascale_lint.ledger.entries import Bind, Product, Unused, Use
from lorascale_lint.ledger.exits import Exit, exits_of
from lorascale_lint.ledger.families import Family, families, in_one_line, is_folded, is_read
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import bare, trained
from lorascale_lint.ledger.spots import Spot, name_spot
from lorascale_lint.ledger.unscaled import unscaled
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Number, Place, Tensor, options

Step = tuple[Spot, str]
_SCALES = frozenset({ALPHA, SCALING, STRENGTH, MULTIPLIER})
_UNREAL = ("setter", "property", "register_fake", "impl_abstract", "register_kernel", "deprecated")


@immutable(frozen=True, slots=True, eq=False)
class LostScale:
    """``text`` at ``spot`` says what is not used.

    ``exits`` are what should be multiplied by ``scalar``, which is 1 for alpha = rank if it is ``trained``;
    ``call`` is where it should be passed under its name. Each is empty where that is not known.
    """

    spot: Spot
    text: str
    trace: list[Step]
    confidence: Confidence = "high"
    exits: tuple[Exit, ...] = ()
    scalar: str = ""
    trained: bool = False
    call: Use | None = None


def lost_scales(ledger: Ledger) -> Iterator[LostScale]:
    """All of them: locals, parameters, fields."""
    deltas = Deltas(ledger)
    for bind in ledger.binds:
        if not bind.spot.file.is_test:
            yield from _local(ledger, deltas, bind)
    for entry in ledger.unused:
        if not entry.spot.file.is_test and entry.role in _SCALES:
            yield from _parameter(ledger, deltas, entry)
    for family in families(ledger):
        if not family.root.file.is_test:
            yield from _fields(ledger, deltas, family)


class Deltas:
    """What functions make of both factors, and at which scales it leaves them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.unscaled = {found.application.spot.function for found in unscaled(ledger)}
        self.classes = {
            cls
            for found in unscaled(ledger)
            for member in found.family.members
            for cls in ledger.lineage(member)
        }
        self._products: dict[FunctionInfo, dict[int, Product]] = {}
        for product in ledger.products:
            if product.kind == "delta" and product.spot.function is not None:
                self._products.setdefault(product.spot.function, {})[id(product.spot.node)] = product

    def of(self, function: FunctionInfo) -> list[Product]:
        """The deltas that a function makes, or one that is defined inside of it."""
        inner = f"{function.qualname}."
        return [
            product
            for other, found in self._products.items()
            if other is function or (other.file is function.file and other.qualname.startswith(inner))
            for product in found.values()
        ]

    def applied(self, function: FunctionInfo) -> list[Spot]:
        """Where a function applies deltas, which others may have made for it."""
        return [entry.spot for entry in self.ledger.once(ByFunction).applies.get(function, ())]

    def scales(self, functions: Iterable[FunctionInfo]) -> list[Scale]:
        """At which scales deltas of the functions are applied and given back."""
        made = set(functions)
        rows = {step for function in made for step in function.steps}
        found = [
            entry.scale
            for entry in self.ledger.applies
            if entry.spot.function in made or not rows.isdisjoint(entry.spot.chain)
        ]
        for given in self.ledger.returns:
            if given.spot.function in made:
                values = [option.value for option in options(given.value)]
                values += [item for value in values for item in getattr(value, "items", ())]
                found += [v.scale for v in values if isinstance(v, Tensor) and v.kind == "delta"]
        return found

    def is_bare(self, functions: Iterable[FunctionInfo], role: str) -> bool:
        """Do they make a delta of a known scale that lacks what is lost, a trained scale or a strength?"""
        held = list(functions)
        folded = any(fold.spot.function in held for fold in self.ledger.folds)
        scales = self.scales(held)
        if not scales or folded:
            return False
        if role not in STRENGTHS:
            return all(map(bare, scales))
        chosen = any(symbol.role in STRENGTHS for scale in scales for symbol, _ in scale.powers)
        return not chosen and all(bare(one) or trained(one) for one in scales)


def _makes(products: Iterable[Product]) -> list[Step]:
    return [(p.spot, f"`{p.spot.name.rpartition('.')[2]}` makes the delta without it") for p in products]


# ---- locals -----------------------------------------------------------------------------------


def _local(ledger: Ledger, deltas: Deltas, bind: Bind) -> Iterator[LostScale]:
    function = bind.spot.function
    if function is None or bind.spot.chain or function in deltas.unscaled:
        return
    scales = [o.value.scale for o in options(bind.value) if isinstance(o.value, Number)]
    if not any(trained(scale) and len(scale.powers) > 1 for scale in scales) or is_read_after(bind):
        return
    products = deltas.of(function)
    applied = deltas.applied(function)
    makers = {function, *(p.spot.function for p in products if p.spot.function)}
    if not (products or applied) or not deltas.is_bare(makers, ALPHA):
        return
    others = [other for other in ledger.binds if other.name == bind.name and other.spot.function is function]
    once = all(other.spot.row <= bind.spot.row for other in others)
    own = bool(products) and all(product.spot.function is function for product in products)
    yield LostScale(
        bind.spot,
        f"`{function.qualname}` computes `{bind.name}` and never uses it",
        [
            (bind.spot, f"`{bind.name}` holds the scale, and is read nowhere after this"),
            *(_makes(products[-1:]) or [(spot, "the delta is applied without it") for spot in applied[:1]]),
        ],
        exits=exits_of(ledger, [function], bind) if once and own else (),
        scalar=bind.name,
        trained=_is_one_for_equal(scales),
    )


def is_read_after(bind: Bind) -> bool:
    """Is the name read behind the place where it is bound, in a function inside, or in the next turn?"""
    function = bind.spot.function
    if function is None:
        return True
    last = bind.spot.statement[1] or bind.spot.end_row
    pending: list[tuple[ast.AST, bool]] = [(node, False) for node in ast.iter_child_nodes(function.node)]
    while pending:
        node, inside = pending.pop()
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in LOGS:
            continue
        named = isinstance(node, ast.Name) and node.id == bind.name and not isinstance(node.ctx, ast.Store)
        if named and (inside or getattr(node, "lineno", 0) > last):
            return True
        loop = isinstance(node, ast.For | ast.While) and node.lineno <= bind.spot.row <= (
            node.end_lineno or 0
        )
        nested = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        own = bind.spot.statement[0] == getattr(node, "lineno", 0) and isinstance(node, ast.stmt)
        inner = (inside or loop or nested) and not own
        pending.extend((child, inner) for child in ast.iter_child_nodes(node))
    return False


def _is_one_for_equal(scales: Iterable[Scale]) -> bool:
    """Is the scale made of alpha and the rank alone?"""
    return all(
        scale.coefficient == 1 and not any(s.role in STRENGTHS for s, _ in scale.powers) for scale in scales
    )


# ---- parameters -------------------------------------------------------------------------------


def _parameter(ledger: Ledger, deltas: Deltas, entry: Unused) -> Iterator[LostScale]:
    function = entry.spot.function
    if function is None or function.has(*_UNREAL) or on_purpose(ast.get_docstring(function.node) or ""):  # type: ignore[arg-type]
        return
    if entry.role == ALPHA and function in deltas.unscaled:
        return
    default = function.default(entry.parameter)
    if isinstance(default, ast.Constant) and default.value is None and entry.role == MULTIPLIER:
        return  # whoever gives none wants none
    where = (entry.spot, f"no computation uses `{entry.parameter}`")
    lost = LostScale(
        entry.spot,
        f"`{function.qualname}` takes `{entry.parameter}` and never uses it",
        [where],
        scalar=entry.parameter,
    )
    here = _lost_here(ledger, deltas, entry, function)
    built = here or _lost_by_constructor(ledger, deltas, entry, function)
    if built:
        plain = default is None or isinstance(getattr(default, "value", None), int | float)
        exits = exits_of(ledger, [function]) if here and plain and entry.role != ALPHA else ()
        yield replace(lost, trace=[where, *built], exits=exits)
        return
    use = _not_handed_on(ledger, entry, function) if entry.role == STRENGTH else None
    if use is not None:
        steps = [(use.spot, f"this call of `{use.name.rpartition('.')[2]}` does not pass it")]
        yield replace(lost, trace=[where, *steps], call=use)


def _lost_here(ledger: Ledger, deltas: Deltas, entry: Unused, function: FunctionInfo) -> list[Step]:
    products = deltas.of(function)
    if not products or not deltas.is_bare([function], entry.role):
        return []
    if function.owner is None:
        return _makes(products[-1:])
    peers = _peers(ledger, function, entry.parameter)
    lost = {(item.spot.function, item.parameter) for item in ledger.unused}
    using = next((peer for peer in peers if (peer, entry.parameter) not in lost), None)
    if peers and using is None:
        return []  # an interface of which nobody needs the parameter
    steps = _makes(products[-1:])
    if using is not None:
        steps.append((name_spot(using), f"`{using.qualname}` uses its `{entry.parameter}`"))
    return steps


def _peers(ledger: Ledger, function: FunctionInfo, parameter: str) -> list[FunctionInfo]:
    """Methods of other classes that are called alike and take the same."""
    files = {item.spot.file for item in ledger.returns} | {item.spot.file for item in ledger.unused}
    return [
        other
        for file in files
        for other in file.all_functions
        if other is not function
        and other.owner is not None
        and other.name == function.name
        and parameter in other.parameters
    ]


def _lost_by_constructor(ledger: Ledger, deltas: Deltas, entry: Unused, function: FunctionInfo) -> list[Step]:
    cls = function.owner
    if cls is None or function.name != "__init__" or entry.parameter == "scale" or is_open(ledger, cls):
        return []
    if entry.role == ALPHA and cls in deltas.classes:
        return []
    family = next((item for item in families(ledger) if cls in item.members), None)
    if family is None or is_folded(ledger, family) or is_read(ledger, family, entry.parameter):
        return []
    products, applied = _of_class(ledger, deltas, family, cls)
    makers = {product.spot.function for product in products if product.spot.function is not None}
    return _makes(products[:2]) if applied and deltas.is_bare(makers, entry.role) else []


def _not_handed_on(ledger: Ledger, entry: Unused, function: FunctionInfo) -> Use | None:
    """The call of a function that has the same parameter, uses it, and is left at its default."""
    lost = {(item.spot.function, item.parameter) for item in ledger.unused}
    for use in ledger.uses:
        if use.spot.function is not function or use.spot.chain or not isinstance(use.spot.node, ast.Call):
            continue
        callee = use.callee.methods.get("__init__") if isinstance(use.callee, ClassInfo) else use.callee
        if callee is None or callee is function or entry.parameter not in callee.parameters:
            continue
        left = entry.parameter not in use.given and callee.default(entry.parameter) is not None
        if left and not use.hidden and (callee, entry.parameter) not in lost:
            return use
    return None


def _fields(ledger: Ledger, deltas: Deltas, family: Family) -> Iterator[LostScale]:
    unread = []
    for field in () if is_folded(ledger, family) else family.fields:
        kept = next((k for k in field.kept if _holds_scale(field, k)), None)
        each = kept is not None and kept.how == "entry" and family.applications  # each adapter's: LS119
        if kept is not None and not each and not is_read(ledger, family, field.name):
            unread.append((field, kept))
    for field, kept in unread:
        cls = kept.spot.cls
        alpha = field.role == ALPHA
        if alpha and family.scaling is not None and family.scaling.was_replaced:
            continue
        if cls is None or is_open(ledger, cls) or (alpha and (len(unread) > 1 or cls in deltas.classes)):
            continue
        products, applied = _of_class(ledger, deltas, family, cls)
        makers = {product.spot.function for product in products if product.spot.function is not None}
        role = STRENGTH if field.role in STRENGTHS and not field.is_trained else ALPHA
        if not makers or not deltas.is_bare(makers, role) or (role in STRENGTHS and _has_strength(applied)):
            continue
        peer = _peer_that_reads(ledger, deltas, cls, field.name)
        sure = kept.how == "made" and not kept.guards and not alpha
        yield LostScale(
            kept.spot,
            f"`{cls.name}` stores `{field.name}` and never reads it",
            [
                (kept.spot, f"`{field.name}` is set here, and no code reads it of a `{cls.name}`"),
                *_makes(products[:3]),
                *([] if peer is None else [(peer[1], f"`{peer[0].name}` reads its own `{field.name}`")]),
            ],
            "high" if applied or peer is not None else "medium",
            exits_of(ledger, list(makers)) if sure and _are_methods(makers, ledger, cls) else (),
            f"self.{field.name}",
            _is_one_for_equal(kept.scales),
        )


def _has_strength(applied: Iterable[Application]) -> bool:
    """Is a strength multiplied on where deltas are applied, whoever gives it?"""
    powers = (power for found in applied for branch in found.branches for power in branch.scale.powers)
    return any(symbol.role in STRENGTHS for symbol, _ in powers)


def _holds_scale(field: Field, kept: Kept) -> bool:
    if field.role not in _SCALES or kept.how == "declared" or kept.may_be_none:
        return False
    values = [option.value for option in options(kept.value)]
    return any(
        (isinstance(value, Place) and value.role in _SCALES)
        or (isinstance(value, Number) and any(s.role in _SCALES for s, _ in value.scale.powers))
        for value in values
    )


def _of_class(
    ledger: Ledger, deltas: Deltas, family: Family, cls: ClassInfo
) -> tuple[list[Product], list[Application]]:
    """Deltas that methods of the class make, and where deltas of its factors are applied."""
    methods = [
        method
        for member in family.members
        if in_one_line(ledger, cls, member)
        for method in member.methods.values()
    ]
    products = {id(p.spot.node): p for method in methods for p in deltas.of(method)}
    applied = [item for item, holder in family.holders.items() if in_one_line(ledger, cls, holder)]
    return list(products.values()), applied


def _are_methods(makers: set[FunctionInfo], ledger: Ledger, cls: ClassInfo) -> bool:
    """Do all of them have the field: methods of the class or of one below?"""
    return all(
        not maker.is_static and maker.owner is not None and cls in ledger.lineage(maker.owner)
        for maker in makers
    )


def _peer_that_reads(
    ledger: Ledger, deltas: Deltas, cls: ClassInfo, name: str
) -> tuple[ClassInfo, Spot] | None:
    """A class of the same file that makes a delta and reads its own field of that name."""
    for other in cls.file.classes.values():
        if other is not cls and (other.key, name) in ledger.fields_read:
            for method in other.methods.values():
                if deltas.of(method) and not in_one_line(ledger, cls, other):
                    return other, name_spot(method)
    return None


def is_open(ledger: Ledger, cls: ClassInfo) -> bool:
    """May code out of sight read the fields of the class: a base outside, a dynamic lookup?"""
    line = ledger.lineage(cls)
    known = {item.name for item in line}
    for item in line:
        if not ANY_ATTRIBUTE.isdisjoint(item.methods):
            return True
        for base in item.node.bases:
            name = dotted(base.value if isinstance(base, ast.Subscript) else base)
            target = item.file.imports.get(name.partition(".")[0], name)
            last = name.rpartition(".")[2]
            if (
                last not in known
                and last not in PLAIN_BASES
                and target.partition(".")[0] not in LAYER_LIBRARIES
            ):
                return True
        for node in ast.walk(item.node):
            match node:
                case ast.Attribute(attr="__dict__") | ast.Call(func=ast.Name(id="vars")):
                    return True
                case ast.Call(func=ast.Name(id="getattr"), args=[_, key, *_]) if not isinstance(
                    key, ast.Constant
                ):
                    return True
                case _:
                    pass
    return False
