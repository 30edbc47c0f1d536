"""LS502: a strength is written over the scaling of a PEFT layer, which holds alpha / rank."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Global,
    Item,
    Op,
    Param,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.findings import Confidence, Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function, bound_arguments, is_receiver, is_test_file
from lorascale_lint.rule import Rule


class PeftScalingOverwritten(Rule):
    """Strength written over a PEFT layer's scaling

    ## What it finds

    An assignment to `layer.scaling[adapter]` of a PEFT LoRA layer whose value is a bare strength: a
    parameter or variable called so, or a literal other than 0.

    ## Why it is wrong

    `scaling[adapter]` is no strength. It holds `lora_alpha / r` (or its rsLoRA form) times the strength,
    and the forward and the merge multiply by nothing else. Whoever writes the strength there takes
    the trained scale away.

    ## Effect

    Effective scale 1 instead of alpha / r at strength 1: 2.00x too weak for alpha=2 * r.

    ## Bad

    ```python
    from peft.tuners.lora import LoraLayer


    def set_strength(model, adapter, strength):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.scaling[adapter] = strength
    ```

    ## Good

    ```python
    from peft.tuners.lora import LoraLayer


    def set_strength(model, adapter, strength):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.set_scale(adapter, strength)
    ```

    ## Fix safety

    No fix: `set_scale(adapter, strength)` multiplies the strength by alpha / r, and takes the place of
    an assignment one by one; what else the program keeps in `scaling` must change with it.

    ## Limits

    Silent where the function multiplies or divides a scaling (it folds it, or scales what is there),
    and where any caller gives a quotient, an alpha or a stored scaling. 0 switches an adapter off.
    Values called `scale` or `weight`, which may hold the whole product, are of medium confidence, and
    so are literals where the function does not read the entries that it overwrites.

    ## References

    - PEFT `LoraLayer.set_scale` and `scale_layer`
    - daydreamlive/scope `peft_lora.py`, Yuanshi9815/OminiControl `specify_lora`, nunchaku's demos
    """

    code = "LS502"
    name = "peft-scaling-overwritten"
    severity = "warning"

    def check(self, model: Model) -> Iterator[Finding]:
        """Writes of a bare strength into a PEFT layer's table of scalings."""
        for function in model.project.functions.values():
            if is_test_file(function.filename) or "scaling" not in function.facts.words:
                continue
            if _rescales(function):
                continue
            for event in function.events("write"):
                if not _writes_scaling(event) or not _is_peft_layer(model, function, event):
                    continue
                for value in _branches(event.value):
                    confidence = _bare_strength(model, function, value)
                    if confidence == "medium" and isinstance(value, Const) and _keeps_former(function):
                        confidence = "high"
                    if confidence is not None:
                        yield self._report(model, function, event, value, confidence)
                        break

    def _report(
        self, model: Model, function: Function, event: Event, value: Term, confidence: Confidence
    ) -> Finding:
        text = source_text(value)
        return self.finding(
            model,
            function.filename,
            event.loc,
            f"the `scaling` of a PEFT layer, which holds alpha / rank, is overwritten with `{text}`",
            event=event,
            confidence=confidence,
            effect=f"effective scale {text} instead of alpha / rank * {text}",
            trace=(
                (function.filename, event.loc, "PEFT multiplies the delta by this entry and nothing else"),
                (function.filename, value.loc, f"`{text}` has no part of alpha or the rank"),
            ),
        )


def _writes_scaling(event: Event) -> bool:
    """Is this ``layer.scaling[adapter] = ...``, and not the object's own table?"""
    match event.target:
        case Item(base=Attr(base=base, name="scaling")) if not event.sign:
            return not (isinstance(base, Param) and base.name in ("self", "cls"))
        case _:
            return False


def _is_peft_layer(model: Model, function: Function, event: Event) -> bool:
    """Is the layer tested for a class of PEFT, or is there no other that has such a table?"""
    for guard in event.guards:
        for part in walk(guard.test):
            match part:
                case Call(func=Global(name="isinstance"), args=(_, kind)) if guard.holds:
                    if any(_names_peft(model, function, item) for item in walk(kind)):
                        return True
                case _:
                    pass
    text = model.read_source(function.filename)
    if re.search(rb"(?m)^\s*(from|import) peft\b", text) is None:
        return False
    return not any(
        write.on_self
        for cls in model.project.classes.values()
        for write in model.project.writes(cls, "scaling")
    )


def _names_peft(model: Model, function: Function, term: Term) -> bool:
    name = model.project.absolute_name(function, term)
    return name.startswith("peft.") or name.rpartition(".")[2] in ("LoraLayer", "BaseTunerLayer")


def _rescales(function: Function) -> bool:
    """Does the function multiply or divide a scaling, or something by one?"""
    for _, term in each_term(function.facts.events):
        scales = isinstance(term, Op) and term.sign in ("*", "/", "**")
        scales = scales or (isinstance(term, Call) and getattr(term.func, "name", "") in _MULTIPLIES)
        if scales and any(isinstance(part, Attr) and "scaling" in part.name for part in walk(term)):
            return True
    return any(
        event.sign and event.target is not None and "scaling" in source_text(event.target)
        for event in function.events("write")
    )


def _keeps_former(function: Function) -> bool:
    """Does the function put away what was in a layer's table, and so knows that it is no constant?"""
    written = {id(event.target) for event in function.events("write")}
    for _, term in each_term(function.facts.events):
        match term:
            case Item(base=Attr(name="scaling")) if id(term) not in written:
                return True
            case Call(func=Attr(base=Attr(name="scaling"), name="copy" | "items" | "get")):
                return True
            case Call(func=Global(name="dict" | "copy" | "deepcopy"), args=(Attr(name="scaling"),)):
                return True
            case _:
                pass
    return False


def _branches(term: Term) -> Iterator[Term]:
    """The values that are written, with conversions taken off."""
    match term:
        case Choice(then=then, other=other):
            yield from _branches(then)
            yield from _branches(other)
        case Call(func=Global(name="float") | Attr(name="tensor" | "as_tensor"), args=(inner, *_)):
            yield from _branches(inner)
        case _:
            yield term


def _bare_strength(model: Model, function: Function, value: Term) -> Confidence | None:
    """How sure it is that ``value`` has no alpha / rank in it; None if it may have."""
    match value:
        case Const(value=int() | float() as number) if not isinstance(number, bool):
            return "medium" if number else None
        case Param(name=name) | Global(name=name) | Attr(name=name):
            if not _given_bare(model, function, value):
                return None
            if _STRENGTH.fullmatch(name):
                return "high"
            return "medium" if _MAYBE_STRENGTH.fullmatch(name) else None
        case _:
            return None


def _given_bare(model: Model, function: Function, value: Term) -> bool:
    """Does no caller give a quotient or anything with a trained scale in its name?"""
    if (
        not isinstance(value, Param)
        or value.function != function.facts.qualname
        or is_receiver(value, function)
    ):
        return True
    for site in model.project.call_sites(function):
        argument = bound_arguments(site.call, function).get(value.name)
        for part in walk(argument) if argument is not None else ():
            name = getattr(part, "name", "") or str(getattr(part, "value", ""))
            if _TRAINED.search(name) or (isinstance(part, Op) and part.sign in ("/", "*", "**")):
                return False
    return True


_MULTIPLIES = frozenset("mul mul_ multiply multiply_ div div_ divide divide_ addmm addmm_ add_ add".split())
"""Functions of tensors by which the former scaling may be folded into a factor."""
_STRENGTH = re.compile(r"(?i)_?(\w+_)?(strength|multiplier)|(lora|adapter|user)_weight|lora_strength_\w+")
_MAYBE_STRENGTH = re.compile(r"(?i)_?(lora|adapter|user|new|target)?_?(scale|weight|scale_value)")
_TRAINED = re.compile(r"(?i)alpha|scaling|rank")
