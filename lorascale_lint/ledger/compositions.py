"""Methods that compose a given delta with a weight at the trained scale, and deltas that go past them.

Some classes keep the product and the scale apart: ``delta`` is the bare product, and ``merge(weight, delta)``
multiplies by the scaling that the class stores. A delta that reaches a sum another way, or is handed to such
a method with a literal 1 for the scale, has no scale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.roles import GATE, NUMBERS, role_of
from lorascale_lint.ledger.conditions import explains, parting, test_of
from lorascale_lint.ledger.ends import End, ends
from lorascale_lint.ledger.entries import Apply, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import bare, scale_of, trained
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.scale_stores import field_name, scale_stores
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Number, Place, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Composition:
    """``method`` adds its parameter ``delta``, times the field ``scaling``, to something else.

    ``override`` is the parameter that a caller may give instead of the stored scale.
    """

    method: FunctionInfo
    delta: str
    scaling: str
    override: str | None
    spot: Spot


@immutable(frozen=True, slots=True, eq=False)
class PastComposition:
    """A delta that has no scale at ``spot``, beside what multiplies it.

    Either ``ends`` are what a forward returns (``branch`` its test, where a gate stands in on the other one),
    or ``given`` are the arguments that hand the bare product on; ``scalar`` is what they lack.
    """

    spot: Spot
    text: str
    trace: tuple[tuple[Spot, str], ...]
    scalar: str
    ends: tuple[End, ...] = ()
    branch: tuple[ast.expr, bool] | None = None
    given: tuple[tuple[Spot, ast.expr, str], ...] = ()


def past_compositions(ledger: Ledger) -> Iterator[PastComposition]:
    """Bare deltas of classes whose own composition multiplies by the trained scale.

    Of what a class hands on the first is told: its norm and its inverse agree with it.
    """
    seen: set[object] = set()
    for composition in _compositions(ledger):
        if composition.method.file.is_test:
            continue
        yield from _forwards(ledger, composition)
        for found in _merges(ledger, composition):
            function = found.spot.function
            owner = None if function is None else function.owner
            if owner not in seen:
                seen.add(owner)
                yield found


def _compositions(ledger: Ledger) -> Iterator[Composition]:
    for given in ledger.returns:
        method = given.spot.function
        if method is None or method.owner is None or given.spot.chain:
            continue
        for option in options(given.value):
            terms = option.value.terms if isinstance(option.value, Number) else ()
            for term in terms:
                scale = term.scale if isinstance(term, Number) else Scale()
                unknown = [symbol for symbol, _ in scale.powers if not symbol.role]
                known = Scale(scale.coefficient, tuple(p for p in scale.powers if p[0].role))
                if len(unknown) != 1 or unknown[0].origin not in method.parameters:
                    continue
                if powers_of(known).is_trained:
                    names = [p for p in method.parameters if role_of(p, True) in NUMBERS]
                    scaling = _stored(ledger, method)
                    override = names[0] if names else None
                    yield Composition(method, unknown[0].origin, scaling, override, given.spot)


def _stored(ledger: Ledger, method: FunctionInfo) -> str:
    """The field that keeps the trained scale of the method's class."""
    for entry in scale_stores(ledger):
        scales = (scale_of(option.value) for option in options(entry.value))
        if entry.spot.cls is method.owner and any(scale is not None and trained(scale) for scale in scales):
            return field_name(entry)
    return ""


# ---- forwards -----------------------------------------------------------------------------------


def _forwards(ledger: Ledger, composition: Composition) -> Iterator[PastComposition]:
    literal = next((use for use in _uses(ledger, composition) if _is_told_one(use, composition)), None)
    if literal is None or ("", composition.scaling) in ledger.fields_read:
        return
    name = composition.method.name
    for method, own in ends(ledger).items():
        if method.owner is not composition.method.owner or method.name not in CALLED_BY_FRAMEWORK:
            continue
        plain = [end for end in own if bare(end.scale) and not any(explains(n) for n, _ in end.guards)]
        if not plain or any(end.trained is not None for end in own):
            continue
        plain = [end for end in plain if all(s.role != GATE for s, _ in end.scale.powers)] or plain
        end, gated = plain[0], [other for other in own if other not in plain]
        condition = parting(end.guards, gated[0].guards) if gated else None
        test = None if condition is None else test_of(method, condition[0])
        yield PastComposition(
            end.spot,
            f"`{method.qualname}` leaves out the trained scale of `{name}`",
            (
                (composition.spot, f"`{name}` multiplies a delta by `{composition.scaling}`"),
                (end.spot, "the product of both factors is returned here without it"),
                (literal.spot, f"and `{name}` is told to apply 1 to it"),
            ),
            f"{method.parameters[0]}.{composition.scaling}" if composition.scaling else "",
            () if gated else tuple(own),
            None if condition is None or test is None else (test, condition[1]),
        )


def _uses(ledger: Ledger, composition: Composition) -> Iterator[Use]:
    """Calls of the method, or of one by its name on an object that nobody knows."""
    method = composition.method
    for use in ledger.uses:
        named = use.callee is None and use.called == method.name
        if (named or use.callee is method) and not use.spot.chain:
            yield use


def _given(use: Use, composition: Composition, name: str | None) -> Value | None:
    """What a call gives as a parameter of the composition."""
    if name is None or name in use.given:
        return use.given.get(name or "")
    return use.given.get(str(composition.method.parameters.index(name) - 1)) if use.callee is None else None


def _is_told_one(use: Use, composition: Composition) -> bool:
    """Is the scale a literal 1, and the delta given as it comes?"""
    told = _given(use, composition, composition.override)
    delta = _given(use, composition, composition.delta)
    scale = None if delta is None else scale_of(delta)
    scaled = scale is not None and any(symbol.role in NUMBERS for symbol, _ in scale.powers)
    return isinstance(told, Number) and told.scale.constant == 1 and delta is not None and not scaled


# ---- merges -------------------------------------------------------------------------------------


def _merges(ledger: Ledger, composition: Composition) -> Iterator[PastComposition]:
    """One branch composes the delta at its scale; the other hands the same delta to a plain sum."""
    composed = list(_uses(ledger, composition))
    for plain in ledger.applies:
        helper, symbol = plain.spot.function, _product(ledger, composition, plain.scale)
        call = _call(ledger, plain) if symbol is not None and plain.spot.chain else None
        if helper is None or helper is composition.method or symbol is None or call is None:
            continue
        name = _property(symbol)
        for other in composed:
            delta = _given(other, composition, composition.delta)
            told = _given(other, composition, composition.override)
            same = other.spot.function is call.spot.function and delta is not None and _reads(delta, name)
            if told is None and same and parting(call.guards, other.guards) is not None:
                method = composition.method.name
                yield PastComposition(
                    call.spot,
                    f"`{helper.name}` gets the delta without the trained scale that `{method}` multiplies on",
                    (
                        (composition.spot, f"`{method}` multiplies it by `{composition.scaling}`"),
                        (call.spot, f"but on this branch `{helper.name}` is called instead"),
                        (plain.spot, "which adds it as it is"),
                    ),
                    composition.scaling,
                    given=tuple(_handed(ledger, call, composition, name)),
                )
                break


def _product(ledger: Ledger, composition: Composition, scale: Scale) -> Symbol | None:
    """The bare product that a delta is, and nothing else: a property that returns it, read off an object."""
    if scale.coefficient != 1 or len(scale.powers) != 1 or scale.powers[0][1] != 1:
        return None
    symbol = scale.powers[0][0]
    made = [
        end
        for function, own in ends(ledger).items()
        if function.name == _property(symbol) and function.owner is composition.method.owner
        for end in own
        if function.has("property", "cached_property")
    ]
    return symbol if made and all(bare(end.scale) for end in made) else None


def _property(symbol: Symbol) -> str:
    return symbol.origin.partition(",")[0].rpartition(".")[2]


def _call(ledger: Ledger, entry: Apply) -> Use | None:
    """The call that led to an application."""
    filename, _, row = entry.spot.chain[-1].rpartition(":")
    for use in ledger.uses:
        here = use.spot.file.filename == filename and use.spot.row == int(row)
        if here and use.callee is entry.spot.function:
            return use
    return None


def _handed(
    ledger: Ledger, call: Use, composition: Composition, name: str
) -> Iterator[tuple[Spot, ast.expr, str]]:
    """Each argument that hands the bare product to a plain function, and the scale that it lacks there.

    Nothing if the class uses the bare product anywhere else than there and in compositions: a merge, its norm
    and its inverse must agree.
    """
    owner = None if call.spot.function is None else call.spot.function.owner
    found: list[tuple[Spot, ast.expr, str]] = []
    values = [(entry.spot, entry.value) for entry in ledger.stores]
    values += [(entry.spot, entry.value) for entry in ledger.returns]
    kept = any(_is_of(owner, spot) and not spot.chain and _reads(value, name) for spot, value in values)
    if kept or not composition.scaling:
        return
    for use in ledger.uses:
        if not _is_of(owner, use.spot) or use.spot.chain or use.callee is composition.method:
            continue
        if not isinstance(use.callee, FunctionInfo) or use.callee.owner is not None:
            continue
        for argument, value in use.given.items():
            if _reads(value, name):
                node, scalar = _argument(use, argument), _scalar(use.spot, name, composition.scaling)
                if node is None or scalar is None:
                    return
                if all(known is not node for _, known, _ in found):
                    found.append((replace(use.spot, node=node), node, scalar))
    yield from found


def _is_of(owner: object, spot: Spot) -> bool:
    return spot.function is not None and spot.function.owner is owner


def _reads(value: Value, name: str) -> bool:
    return any(
        isinstance(option.value, Place) and option.value.path.rpartition(".")[2] == name
        for option in options(value)
    )


def _argument(use: Use, name: str) -> ast.expr | None:
    call = use.spot.node
    if not isinstance(call, ast.Call) or not isinstance(use.callee, FunctionInfo):
        return None
    by_name = {keyword.arg: keyword.value for keyword in call.keywords}
    given = dict(zip(use.callee.parameters, call.args, strict=False))
    return by_name.get(name, given.get(name))


def _scalar(spot: Spot, name: str, scaling: str) -> str | None:
    """``lora.scaling`` for ``lora.delta_w``, as the function writes it."""
    if spot.function is None:
        return None
    owners = {
        ast.unparse(node.value)
        for node in ast.walk(spot.function.node)
        if isinstance(node, ast.Attribute) and node.attr == name
    }
    owner = owners.pop() if len(owners) == 1 else ""
    return f"{owner}.{scaling}" if owner.isidentifier() else None
