"""Scales and strengths that are computed, stored or taken, and reach no delta."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Item,
    Loc,
    Op,
    Param,
    Parameter,
    Term,
    source_text,
    walk,
)
from lorascale_lint.findings import Confidence
from lorascale_lint.model.applications import Application, Step
from lorascale_lint.model.dropped_alpha import dropped_alphas
from lorascale_lint.model.factor_products import (
    SCALE_WORD,
    FactorProduct,
    effects,
    is_log,
    relatives,
    unscaled_products,
)
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import (
    AttributeWrite,
    Class,
    Function,
    bound_arguments,
    constructor,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.unscaled_exits import Exit, Rescaling, covers, exits_of
from lorascale_lint.model.values import Number

_SCALE_NAME = re.compile(
    r"(?i)_*(lora_?|adapter_?|merge_?|alpha_?|delta_?|rs_?)*"
    r"(scale|scales|scaling|scalings|scale_factor|scaling_factor|strength|multiplier|alpha_scale)"
)
_STRENGTH = re.compile(
    r"(?i)(lora_|adapter_|merge_)*(strength|multiplier|scale|scaling|scale_factor|scaling_factor|weight_scale)"
)
_STRONG_STRENGTH = re.compile(
    r"(?i)((lora|adapter|merge)_)+(strength|multiplier|scale|scaling|weight|ratio)|strength|multiplier"
)
_ALPHA = re.compile(r"(?i)(lora_|network_)?alpha")
_ON_PURPOSE = re.compile(
    r"(?i)unused|not used|ignore|deprecat|compat|placeholder|reserved|no[- ]op|interface"
)
_LIBRARIES = frozenset(
    "torch nn keras mlx flax jax tensorflow tf lightning pytorch_lightning abc typing".split()
)
_PLAIN_BASES = frozenset("object ABC Module Layer Linear Generic Protocol Embedding Conv2d Parameter".split())
_UNREAL = re.compile(r"overload|abstract|fake|register|meta|overrides_|deprecat|property|setter")
_DYNAMIC = frozenset(["__getattr__", "__getattribute__"])


@dataclass(frozen=True, slots=True, eq=False)
class UnusedScale:
    """``text`` at ``loc`` in ``function`` says what is not used; ``steps`` explain it.

    ``rescaling`` is what should be multiplied by it, ``call`` where it should be passed under its name, each
    if that is known.
    """

    function: Function
    loc: Loc
    event: Event | None
    text: str
    steps: tuple[Step, ...]
    confidence: Confidence = "high"
    rescaling: Rescaling | None = None
    call: tuple[Loc, str] | None = None


def unused_locals(model: Model, function: Function) -> Iterator[UnusedScale]:
    """Locals that hold a scale, in a function that makes a delta without any."""
    inner = _nested_with_products(model, function)
    if not model.factor_products.of(function) and not inner and not _sets_factors(model, function):
        return
    for event in function.events("bind"):
        value = event.value
        if not _is_scale(model, function, event.name, value) or model.names.is_read(
            function, event.name, event.end_row
        ):
            continue
        if _known_unscaled(model, function):
            return
        if _used_elsewhere(function, event) or any(
            model.factor_products.may_be_scaled(part, apart_from=value) for part in (function, *inner)
        ):
            continue
        products = (
            *model.factor_products.of(function),
            *(product for part in inner for product in model.factor_products.of(part)),
        )
        if any(map(model.factor_products.is_folded, products)):
            continue
        yield UnusedScale(
            function,
            event.loc,
            event,
            f"`{function.facts.qualname}` computes `{event.name}` and never uses it",
            (
                (function.filename, value.loc, f"the scale `{source_text(value)}` is computed here"),
                (function.filename, event.loc, f"`{event.name}` holds it, and is read nowhere after this"),
                *_product_steps(products[-1:]),
            ),
            rescaling=_local_rescaling(model, function, event, products),
        )


def _local_rescaling(
    model: Model, function: Function, event: Event, products: tuple[FactorProduct, ...]
) -> Rescaling | None:
    """The products by the local, if it is bound wherever they are used, and for good."""
    if any(other.row > event.row for other in function.events("bind") if other.name == event.name):
        return None
    exits = exits_of([found for found in products if found.function is function], event.name, event.loc)
    if len({found.function for found in products}) != 1 or not all(
        covers(event.guards, leaving.event.guards) for leaving in exits
    ):
        return None
    return Rescaling(exits, _is_trained(model, function, event.value)) if exits else None


def _is_trained(model: Model, function: Function, value: Term) -> bool:
    found = [a.value for a in model.evaluator.values(value, model.evaluator.frame(function))]
    return bool(found) and all(isinstance(v, Number) and v.scale.is_trained for v in found)


def _sets_factors(model: Model, function: Function) -> bool:
    """Does the function look both factors up and hand them to a setter?"""
    return any(loader.function is function and loader.setter_calls for loader in model.loaders)


def _nested_with_products(model: Model, function: Function) -> tuple[Function, ...]:
    """Functions and lambdas inside ``function``, if one of them makes the delta: patched forwards, hooks."""
    prefix = f"{function.facts.qualname}."
    inner = tuple(
        other
        for other in model.project.functions.values()
        if other.filename == function.filename and other.facts.qualname.startswith(prefix)
    )
    return inner if any(map(model.factor_products.of, inner)) else ()


def _known_unscaled(model: Model, function: Function) -> bool:
    """Is a sum in ``function`` reported as unscaled already, because a sibling scales?"""
    return any(found.function is function for _, found, _ in model.unscaled)


def _is_scale(model: Model, function: Function, name: str, value: Term) -> bool:
    """Is ``value`` arithmetic that makes a scale: alpha / rank, or named so and made of scales?"""
    options = [value]
    while any(isinstance(option, Choice) for option in options):
        options = [
            part
            for option in options
            for part in ((option.then, option.other) if isinstance(option, Choice) else (option,))
        ]
    computed = [term for term in options if isinstance(term, Op) and term.sign in ("*", "/", "//")]
    if not computed:
        return False
    frame = model.evaluator.frame(function)
    values = [a.value for term in computed for a in model.evaluator.values(term, frame)]
    if any(isinstance(found, Number) and found.scale.is_trained for found in values):
        return True
    return _SCALE_NAME.fullmatch(name) is not None and any(
        isinstance(part, Attr | Param) and SCALE_WORD.search(part.name)
        for term in computed
        for part in walk(term)
    )


def _used_elsewhere(function: Function, event: Event) -> bool:
    """Is the computed term part of anything but this binding, and what logs say of it?"""
    logged = {id(part) for call in function.events("call") if is_log(call.value) for part in walk(call.value)}
    return any(
        part is event.value
        for other in function.facts.events
        if other is not event and other.kind != "test" and id(other.value) not in logged
        for root in ((other.value,) if other.target is None else (other.value, other.target))
        for part in walk(root)
        if not (other.kind == "bind" and other.name == event.name)
    )


# ---- attributes ---------------------------------------------------------------------------


def unused_attributes(model: Model, cls: Class) -> Iterator[UnusedScale]:
    """Attributes of ``cls`` that hold a scale and are read nowhere, where the class makes a delta."""
    stored: dict[str, AttributeWrite] = {}
    for method in model.project.methods(cls):
        for event in method.events("write"):
            target = event.target.base if isinstance(event.target, Item) else event.target
            if (
                isinstance(target, Attr)
                and is_receiver(target.base, method)
                and not event.sign
                and _is_stored_scale(model, method, target.name, event)
            ):
                stored.setdefault(target.name, AttributeWrite(method, event, True))
    if not stored or _is_open(model, cls):
        return
    family = relatives(model.evaluator, cls)
    line = model.project.ancestors(cls)
    methods = [method for member in line for method in model.project.methods(member)]
    products = unscaled_products(model.factor_products, (m for m in methods if not _constructs(m)))
    if not products or any(map(model.factor_products.is_folded, products)):
        return
    unread = {name: write for name, write in stored.items() if not _is_read_attribute(model, name, family)}
    for name, write in unread.items():
        if _ALPHA.fullmatch(name) and len(unread) > 1:
            continue  # the scale computed from it is the finding
        if _ALPHA.fullmatch(name) and any(_made_in(found, line) for _, found, _ in model.unscaled):
            continue
        applied = any(_made_in(application, line) for application in model.applications)
        peer = _peer_that_reads(model, cls, name)
        steps = [] if peer is None else [(cls.filename, peer[1], f"`{peer[0]}` reads its own `{name}`")]
        yield UnusedScale(
            write.function,
            write.event.loc,
            write.event,
            f"`{cls.name}` stores `{name}` and never reads it",
            (
                (
                    write.function.filename,
                    write.event.loc,
                    f"`{name}` gets `{source_text(write.event.value)}`",
                ),
                *_product_steps(products[:3]),
                (write.function.filename, cls.facts.loc, f"no code reads `{name}` of a `{cls.name}`"),
                *steps,
            ),
            "high" if applied or peer is not None else "medium",
            rescaling=_attribute_rescaling(model, write, name, products),
        )


def _attribute_rescaling(
    model: Model, write: AttributeWrite, name: str, products: tuple[FactorProduct, ...]
) -> Rescaling | None:
    """The products by the attribute, if the constructor sets it to one scale in any case."""
    owner, event = write.function.owner, write.event
    sure = write.function.facts.name == "__init__" and not event.guards and isinstance(event.target, Attr)
    if owner is None or not sure or _ALPHA.fullmatch(name):
        return None
    exits: list[Exit] = []
    for function in dict.fromkeys(product.function for product in products):
        if function.receiver is None or function.owner is None:
            return None
        if owner not in model.project.ancestors(function.owner):
            return None
        own = [product for product in products if product.function is function]
        leaving = exits_of(own, f"{function.receiver}.{name}")
        if not leaving:
            return None
        exits += leaving
    return Rescaling(tuple(exits), _is_trained(model, write.function, event.value))


def _peer_that_reads(model: Model, cls: Class, name: str) -> tuple[str, Loc] | None:
    """A class of the same file that makes a delta and scales it by its own attribute of that name."""
    for other in model.project.classes.values():
        if other.filename != cls.filename or other is cls:
            continue
        for method in model.project.methods(other):
            if not model.factor_products.of(method):
                continue
            for event in effects(method):
                for part in walk(event.value):
                    if isinstance(part, Attr) and part.name == name and is_receiver(part.base, method):
                        return other.name, part.loc
    return None


def _is_stored_scale(model: Model, method: Function, name: str, event: Event) -> bool:
    if _is_scale(model, method, name, event.value):
        return True
    named = any(pattern.fullmatch(name) for pattern in (_STRONG_STRENGTH, _SCALE_NAME, _ALPHA))
    return bool(named and isinstance(event.value, Param) and SCALE_WORD.search(event.value.name))


def _made_in(application: Application, line: tuple[Class, ...]) -> bool:
    """Does a method of these classes apply the delta, or make it for another class?"""
    makers = (function.owner for found in application.deltas for function, _ in found.via)
    return application.owner in line or any(maker in line for maker in makers)


def _constructs(method: Function) -> bool:
    return method.facts.name in ("__init__", "__post_init__", "reset_parameters", "extra_repr", "__repr__")


def _is_open(model: Model, cls: Class) -> bool:
    """May code that is not seen read the attributes of ``cls``: a base outside, a dynamic lookup?"""
    for ancestor in model.project.ancestors(cls):
        for base in ancestor.facts.bases:
            name = dotted_name(base.base if isinstance(base, Item) else base)
            if isinstance(model.project.definition(ancestor.module, ancestor.filename, name), Class):
                continue
            imported = model.project.files[ancestor.filename].imports.get(name.partition(".")[0], name)
            plain = name.rpartition(".")[2] in _PLAIN_BASES
            if not plain and imported.partition(".")[0] not in _LIBRARIES:
                return True
        for method in model.project.methods(ancestor):
            if method.facts.name in _DYNAMIC or "__dict__" in method.facts.words:
                return True
            if any(_looks_up(event.value) for event in method.events("call")):
                return True
    return False


def _looks_up(call: Term) -> bool:
    """Does a call read an attribute whose name is not seen?"""
    if not isinstance(call, Call) or dotted_name(call.func) not in ("getattr", "vars"):
        return False
    return len(call.args) < 2 or not isinstance(call.args[1], Const)


def _is_read_attribute(model: Model, name: str, family: tuple[Class, ...]) -> bool:
    inside = {(cls.filename, cls.name) for cls in family}
    return any(
        read.class_name is None or (read.filename, read.class_name) in inside
        for read in model.names.attribute_reads(name)
    )


# ---- parameters ---------------------------------------------------------------------------


def unused_parameters(model: Model, function: Function) -> Iterator[UnusedScale]:
    """Strengths and alphas that a function takes and does not use, where it makes or asks for a delta."""
    if any(_UNREAL.search(decorator) for decorator in function.facts.decorators):
        return
    asked = [parameter for parameter in function.facts.parameters if _is_strength(parameter)]
    used = _computed_from(function) if asked else frozenset()
    for parameter in asked:
        if parameter.name in used or model.names.is_read(function, parameter.name):
            continue
        if _ON_PURPOSE.search(model.names.docstring(function)):
            continue
        if _ALPHA.fullmatch(parameter.name) and _known_unscaled(model, function):
            continue
        here = _lost_here(model, function, parameter)
        steps = here or _lost_by_constructor(model, function, parameter)
        handed_on = () if steps else _not_handed_on(model, function, parameter)
        steps = steps or handed_on
        if steps:
            where = (function.filename, parameter.loc, f"no computation uses `{parameter.name}`")
            yield UnusedScale(
                function,
                parameter.loc,
                None,
                f"`{function.facts.qualname}` takes `{parameter.name}` and never uses it",
                (where, *steps),
                rescaling=_parameter_rescaling(model, function, parameter) if here else None,
                call=(handed_on[0][1], parameter.name) if handed_on else None,
            )


def _parameter_rescaling(model: Model, function: Function, parameter: Parameter) -> Rescaling | None:
    """The products of ``function`` by a strength that it takes and that is a number if it is left out."""
    default = parameter.default
    if _ALPHA.fullmatch(parameter.name) or not (
        default is None or (isinstance(default, Const) and isinstance(default.value, int | float))
    ):
        return None
    exits = exits_of(model.factor_products.of(function), parameter.name)
    return Rescaling(exits, False) if exits else None


def _computed_from(function: Function) -> frozenset[str]:
    """Parameters that an effect of ``function`` shows in use, so that nobody need read the source."""
    return frozenset(
        part.name
        for event in effects(function)
        for part in walk(event.value)
        if isinstance(part, Param) and part.function == function.facts.qualname
    )


def _is_strength(parameter: Parameter) -> bool:
    name = parameter.name
    if parameter.kind not in ("plain", "keyword") or name.startswith("_"):
        return False
    return any(pattern.fullmatch(name) for pattern in (_STRENGTH, _STRONG_STRENGTH, _ALPHA))


def _lost_here(model: Model, function: Function, parameter: Parameter) -> tuple[Step, ...]:
    """Steps to a product in ``function`` that nothing scales."""
    products = model.factor_products.of(function)
    if not products or model.factor_products.may_be_scaled(function):
        return ()
    if any(map(model.factor_products.is_folded, products)):
        return ()
    if function.owner is not None:
        peers = [
            other
            for other in model.functions
            if other is not function
            and other.owner is not None
            and other.facts.name == function.facts.name
            and other.parameter(parameter.name) is not None
        ]
        using = next((other for other in peers if model.names.is_read(other, parameter.name)), None)
        if peers and using is None:
            return ()  # an interface of which nobody needs the parameter
        if using is not None:
            used = (using.filename, using.facts.loc, f"`{using.facts.qualname}` uses its `{parameter.name}`")
            return (*_product_steps(products[-1:]), used)
    return _product_steps(products[-1:])


def _lost_by_constructor(model: Model, function: Function, parameter: Parameter) -> tuple[Step, ...]:
    """Steps to a product of the class whose constructor does not keep its scale."""
    cls = function.owner
    if cls is None or function.facts.name != "__init__" or _is_open(model, cls):
        return ()
    if parameter.name == "scale" or any(dropped_alphas(model.project, function)):
        return ()
    line = model.project.ancestors(cls)
    working = (m for member in line for m in model.project.methods(member) if not _constructs(m))
    products = unscaled_products(model.factor_products, working)
    if not products or any(map(model.factor_products.is_folded, products)):
        return ()
    if _ALPHA.fullmatch(parameter.name) and any(_made_in(found, line) for _, found, _ in model.unscaled):
        return ()
    applied = any(_made_in(application, line) for application in model.applications)
    return _product_steps(products[:2]) if applied else ()


def _not_handed_on(model: Model, function: Function, parameter: Parameter) -> tuple[Step, ...]:
    """Steps to a call that leaves the strength of its callee at the default."""
    if _STRONG_STRENGTH.fullmatch(parameter.name) is None:
        return ()
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread:
            continue
        for callee in model.project.callees(call.func, function, None):
            target = constructor(model.project, callee)
            taken = None if target is None else target.parameter(parameter.name)
            if target is None or taken is None or target is function or taken.default is None:
                continue
            if parameter.name in bound_arguments(call, target) or not model.names.is_read(
                target, parameter.name
            ):
                continue
            return (
                (function.filename, call.loc, f"this call of `{target.facts.qualname}` does not pass it"),
                (target.filename, taken.loc, f"so `{taken.name}` is {source_text(taken.default)}"),
            )
    return ()


def _product_steps(products: tuple[FactorProduct, ...]) -> tuple[Step, ...]:
    return tuple(
        (found.function.filename, found.term.loc, f"`{found.function.facts.name}` makes the delta without it")
        for found in products
    )


def unused_scales(model: Model) -> Iterator[UnusedScale]:
    """All of them, in file order."""
    for function in model.functions:
        if not is_test_file(function.filename):
            yield from unused_locals(model, function)
            yield from unused_parameters(model, function)
    for cls in model.project.classes.values():
        if not is_test_file(cls.filename):
            yield from unused_attributes(model, cls)
