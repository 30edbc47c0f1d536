"""A scale that is the literal 1 where an alpha was given, looked up or kept, and nothing uses it.

A constant alone is no bug: adapters may be trained at scale 1. It is one where the same function takes an
alpha beside the rank (or the factors that have it), or reads the alpha of a file, and lets it go.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import on_purpose
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, A, B, role_of
from lorascale_lint.ledger.class_fields import replaces_comment
from lorascale_lint.ledger.entries import Bind
from lorascale_lint.ledger.families import family_of_class, is_read, opposed
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.ledger.unscaled import unscaled
from lorascale_lint.ledger.unused_scales import LostScale, Step, is_read_after
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.values import Place, Value, options

_SCALES = (SCALING, MULTIPLIER)


@immutable(frozen=True, slots=True, eq=False)
class Constant:
    """A scale that is set to 1 under ``name``."""

    spot: Spot
    name: str
    guards: Guards
    local: bool = False


def constant_scales(ledger: Ledger) -> Iterator[LostScale]:
    """Each once, with the alpha that it leaves out."""
    known = {found.application.spot.function for found in unscaled(ledger)}
    classes = {cls for found in unscaled(ledger) for cls in found.family.members}
    seen: set[tuple[str, int]] = set()
    for found in _constants(ledger):
        function, place = found.spot.function, (found.spot.file.filename, found.spot.row)
        if function is None or place in seen or found.spot.file.is_test:
            continue
        if replaces_comment(found.spot, found.name):
            continue
        if (
            function in known
            or function.owner in classes
            or (function.decorators and not _is_property(function))
        ):
            continue
        step = (
            _unused_parameter(ledger, function)
            or _unused_lookup(ledger, function)
            or _unread_field(ledger, function)
            or _other_branch(ledger, found)
        )
        if step is not None:
            seen.add(place)
            yield LostScale(
                found.spot,
                f"`{found.name}` is the constant 1 in `{function.qualname}`, and alpha is left out",
                [step, (found.spot, "the scale is a constant instead of alpha / rank")],
            )


def _constants(ledger: Ledger) -> Iterator[Constant]:
    for store in ledger.stores:
        if not store.spot.chain and role_of(store.field, True) in _SCALES and _is_one(store.value):
            yield Constant(store.spot, store.field, store.guards)
    for write in ledger.writes:
        named = role_of(write.name, True) in _SCALES if write.name else key_role_of(write.key) in _SCALES
        if not write.spot.chain and named and _is_one(write.value):
            yield Constant(write.spot, write.name or "scaling", write.guards)
    for bind in ledger.binds:
        one = not bind.spot.chain and role_of(bind.name, True) in _SCALES and _is_one(bind.value)
        if one and is_read_after(bind) and _has_factors(ledger, bind):
            yield Constant(bind.spot, bind.name, bind.guards, True)
    for given in ledger.returns:
        function = given.spot.function
        if function is None or not _is_property(function) or role_of(function.name, True) not in _SCALES:
            continue
        if not given.spot.chain and _is_one(given.value):
            yield Constant(given.spot, function.name, given.guards)


def _is_one(value: Value) -> bool:
    return all(scale_of(option.value) == ONE for option in options(value))


def _is_property(function: FunctionInfo) -> bool:
    return function.has("property", "cached_property")


def _has_factors(ledger: Ledger, bind: Bind) -> bool:
    """Does the function make a delta, read both factors, or take them? And is the name bound to 1 only?"""
    function = bind.spot.function
    if function is None or any(
        other.name == bind.name and other.spot.function is function and not _is_one(other.value)
        for other in ledger.binds
    ):
        return False
    if {role_of(name, True) for name in function.parameters} >= {A, B}:
        return True
    read = {key_role_of(item.key) for item in ledger.reads if item.spot.function is function}
    return read >= {A, B} or any(
        product.kind == "delta" and product.spot.function is function for product in ledger.products
    )


def _unused_parameter(ledger: Ledger, function: FunctionInfo) -> Step | None:
    """The alpha that the function takes beside the rank or the factors, and does not use."""
    if on_purpose(ast.get_docstring(function.node) or ""):  # type: ignore[arg-type]
        return None
    beside = next((name for name in function.parameters if role_of(name, True) in (RANK, A, B)), None)
    alphas = [item for item in ledger.unused if item.spot.function is function and item.role == ALPHA]
    if beside is None or len(alphas) != 1:
        return None
    taken = alphas[0].parameter
    text = f"`{function.name}` takes `{taken}` beside `{beside}`, and nothing uses it"
    return alphas[0].spot, text


def _unused_lookup(ledger: Ledger, function: FunctionInfo) -> Step | None:
    """The alpha of a file or configuration that the function binds to a name and does not use."""
    looked_up = {
        option.value
        for read in ledger.reads
        if read.spot.function is function and key_role_of(read.key) == ALPHA
        for option in options(read.value)
    }
    for bind in ledger.binds:
        if bind.spot.function is function and not bind.spot.chain and not is_read_after(bind):
            values = [option.value for option in options(bind.value)]
            if any(value in looked_up or _comes_of(value, looked_up) for value in values):
                return bind.spot, f"`{bind.name}` is the alpha that was looked up, and nothing uses it"
    return None


def _comes_of(value: Value, looked_up: set[Value]) -> bool:
    scale = scale_of(value)
    origins = {item.path for item in looked_up if isinstance(item, Place)}
    return scale is not None and any(s.role == ALPHA and s.origin in origins for s, _ in scale.powers)


def _unread_field(ledger: Ledger, function: FunctionInfo) -> Step | None:
    """The alpha that the class of the function keeps or declares beside a rank, and nobody reads."""
    cls = function.owner
    if cls is None:
        return None
    family = family_of_class(ledger, cls)
    alpha = None if family is None else family.field(ALPHA)
    if family is not None and alpha is not None and not is_read(ledger, family, alpha.name):
        given = [k for k in alpha.kept if k.how in ("made", "set", "entry") and not k.may_be_none]
        if given and _takes_rank(given[0].spot.function):
            return given[0].spot, f"`{cls.name}` keeps `{alpha.name}`, and nothing reads it"
    roles = {role_of(name, True): name for name in cls.attributes}
    if ALPHA in roles and RANK in roles and not _is_read(ledger, cls, roles[ALPHA]):
        text = f"`{cls.name}` has `{roles[ALPHA]}` beside `{roles[RANK]}`, and nothing reads it"
        return Spot(cls.file, None, cls, _declaration(cls, roles[ALPHA])), text
    return None


def _takes_rank(function: FunctionInfo | None) -> bool:
    return function is not None and any(role_of(name, True) == RANK for name in function.parameters)


def _declaration(cls: ClassInfo, name: str) -> ast.AST:
    for node in cls.node.body:
        target = getattr(node, "target", None) or next(iter(getattr(node, "targets", [])), None)
        if isinstance(target, ast.Name) and target.id == name:
            return target
    return cls.node


def _is_read(ledger: Ledger, cls: ClassInfo, name: str) -> bool:
    return not {("", name), ("<settings>", name), (cls.key, name)}.isdisjoint(ledger.fields_read)


def _other_branch(ledger: Ledger, found: Constant) -> Step | None:
    """Where the same scale is computed from alpha and the rank, on the other branch of an rsLoRA flag."""
    for store in ledger.stores:
        if store.spot.function is not found.spot.function or store.field != found.name or store.spot.chain:
            continue
        flags = [name for name in opposed(store.guards, found.guards) if speaks_of_rslora(name)]
        scales = [scale_of(option.value) for option in options(store.value)]
        if flags and any(scale is not None and trained(scale) for scale in scales):
            return store.spot, f"`{store.field}` is alpha over the rank on the other branch"
    return None
