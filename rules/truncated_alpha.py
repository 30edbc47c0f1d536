"""LS204: alpha is truncated to an integer before it becomes a scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from lorascale_lint.codemods.keep_alpha_float import divide_exactly, keep_alpha_float
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
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import lookup
from lorascale_lint.model.file_readers import reads_tensors
from lorascale_lint.model.integer_tensors import integer_tensor
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, is_receiver
from lorascale_lint.model.scale import ALPHA, RANK, Scale
from lorascale_lint.model.values import Nothing, Number
from lorascale_lint.model.vocabulary import is_alpha_key, number_role
from lorascale_lint.rule import Rule


class TruncatedAlpha(Rule):
    """Alpha truncated to an integer

    ## What it finds

    `int(alpha)` stored as a layer's alpha, or divided by the rank, where the value is declared a float,
    has a float for its default or comes from a tensor, `alpha // rank` used as a scale, and an alpha that is
    stored in a tensor of an integer type.

    ## Why it is wrong

    alpha is a real number: with rank 8, `int(2.4) / 8` is 0.25 instead of 0.3, `int(0.5) / 8` is 0,
    and `4 // 8` is 0: the adapter does nothing.

    ## Effect

    1.20x too weak for alpha=2.4; no effect at all for alpha=0.5, or for `4 // 8`.

    ## Bad

    ```python
    class LoRALinear:
        def set_lora_weights(self, A, B, lora_alpha: float | None = None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = int(lora_alpha) if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def set_lora_weights(self, A, B, lora_alpha: float | None = None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = float(lora_alpha) if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Safe: an alpha that equals the rank is an integer and stays what it is.

    ## Limits

    `int()` of an alpha that is parsed from text (other than the metadata of an adapter file) or declared
    an integer is left alone, and so is `//` in a function that asserts divisibility with `%` or chooses by
    `is_integer()`.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `layers/lora/linear.py`
    - JamesQFreeman/LoRA-ViT divides with `//`
    """

    code = "LS204"
    name = "truncated-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Truncations of an alpha that is, or may be, no integer."""
        for function in model.functions:
            words = function.facts.words
            if "is_integer" in words or {"isinstance", "int"} <= words:
                continue
            for event, term in each_term(function.events("write", "bind", "return")):
                finding = self._truncation(model, function, event, term)
                if finding is not None:
                    yield finding
            yield from self._integer_tensors(model, function)

    def _truncation(self, model: Model, function: Function, event: Event, term: Term) -> Finding | None:
        match term:
            case Call(func=Global(name="int"), args=(argument,)) if _is_stored_as_alpha(term, event):
                return self._whole(model, function, event, term, argument)
            case Op(sign="/", left=Call(func=Global(name="int"), args=(argument,)) as whole, right=right):
                frame = model.evaluator.frame(function)
                alpha, rank = (model.evaluator.single(side, frame) for side in (argument, right))
                if alpha != Number(Scale.of(ALPHA)) or not isinstance(rank, Number):
                    return None
                if rank.scale.power(RANK) <= 0 or _is_stored_as_alpha(whole, event):
                    return None
                return self._whole(model, function, event, whole, argument)
            case Op(sign="//", left=left, right=right) if "%" not in _signs(function):
                frame = model.evaluator.frame(function)
                rank = model.evaluator.single(right, frame)
                if not _is_alpha_or_rank(model, function, left) or rank != Number(Scale.of(RANK)):
                    return None
                return self.finding(
                    model,
                    function.filename,
                    term.loc,
                    "alpha is divided by the rank with `//`, which rounds the scale down",
                    event=event,
                    effect="no effect at all for alpha < rank; 1.50x too weak for alpha=24, rank=16",
                    trace=[(function.filename, left.loc, "alpha"), (function.filename, right.loc, "rank")],
                    fix=divide_exactly(model, function, term),
                )
            case _:
                return None

    def _integer_tensors(self, model: Model, function: Function) -> Iterator[Finding]:
        """Alphas that are stored in a tensor of an integer type: attributes, buffers and entries."""
        for event in function.events("write", "bind", "call"):
            kept = _kept_as_alpha(event)
            alpha = integer_tensor(kept) if isinstance(kept, Call) else None
            if kept is None or alpha is None or not _is_alpha(alpha):
                continue
            origin = _real_valued(model, function, alpha)
            if origin is None and _may_be_integer(function, alpha):
                continue
            yield self.finding(
                model,
                function.filename,
                kept.loc,
                "alpha is stored in a tensor of an integer type",
                event=event,
                confidence="medium" if origin is None else "high",
                effect="for rank=8: 1.20x too weak for alpha=2.4, no effect at all for alpha=0.5",
                trace=[(function.filename, alpha.loc, origin or "nothing says that alpha is an integer")],
            )

    def _whole(
        self, model: Model, function: Function, event: Event, call: Call, argument: Term
    ) -> Finding | None:
        """The finding for ``int(argument)`` if the alpha may be no integer."""
        origin = _real_valued(model, function, argument)
        if origin is None:
            return None
        return self.finding(
            model,
            function.filename,
            call.loc,
            "alpha is truncated by `int()`",
            event=event,
            effect="for rank=8: 1.20x too weak for alpha=2.4, no effect at all for alpha=0.5",
            trace=[(function.filename, argument.loc, origin)],
            fix=keep_alpha_float(model, function, call),
        )


def _is_alpha(term: Term) -> bool:
    """Is ``term`` an alpha by its name, or by the key that it is looked up under?"""
    match term:
        case Param(name=name) | Attr(name=name):
            return number_role(name, True) == ALPHA
        case Call(func=Attr(base=base, name="item" | "detach" | "cpu" | "float")):
            return _is_alpha(base)
        case _:
            found = lookup(term)
            return found is not None and is_alpha_key(key_pattern(found[1]))


def _kept_as_alpha(event: Event) -> Term | None:
    """What the event stores as an alpha: an attribute, a name, a buffer or an entry that is called so."""
    match event:
        case Event(kind="write", target=Attr(name=name), value=value) if not event.sign:
            return value if number_role(name, True) == ALPHA else None
        case Event(kind="write", target=Item(key=key), value=value) if not event.sign:
            return value if is_alpha_key(key_pattern(key)) else None
        case Event(kind="bind", name=name, value=value):
            return value if number_role(name, True) == ALPHA else None
        case Event(value=Call(func=Attr(name="register_buffer"), args=(Const(value=str(name)), kept, *_))):
            return kept if number_role(name, True) == ALPHA else None
        case _:
            return None


def _may_be_integer(function: Function, alpha: Term) -> bool:
    parameter = function.parameter(alpha.name) if isinstance(alpha, Param) else None
    return parameter is None or "int" in parameter.annotation


def _is_alpha_or_rank(model: Model, function: Function, term: Term) -> bool:
    """Is ``term`` alpha, perhaps with the rank in place of a missing one?"""
    values = {a.value for a in model.evaluator.values(term, model.evaluator.frame(function))}
    alpha = Number(Scale.of(ALPHA))
    return alpha in values and values <= {alpha, Number(Scale.of(RANK)), Nothing()}


def _is_stored_as_alpha(term: Term, event: Event) -> bool:
    """Is ``term`` itself, or as a branch of a choice, what the statement stores as an alpha?"""
    name = event.target.name if isinstance(event.target, Attr) else event.name
    outcomes = [event.value]
    for outcome in outcomes:
        if isinstance(outcome, Choice):
            outcomes += [outcome.then, outcome.other]
    return number_role(name, True) == ALPHA and any(outcome is term for outcome in outcomes)


def _real_valued(model: Model, function: Function, term: Term) -> str | None:
    """Why an alpha may be no integer, or None if it may well be declared one."""
    match term:
        case Param(name=name) if number_role(name, True) == ALPHA:
            parameter = function.parameter(name)
            if parameter is not None and "float" in parameter.annotation:
                return f"`{name}` is declared `{parameter.annotation}`"
            if parameter is not None and not parameter.annotation and _is_real(parameter.default):
                return f"`{name}` has the default `{source_text(parameter.default)}`"
        case Call(func=Attr(name="item")):
            return "the value is read from a tensor"
        case Call(func=Global(name="float"), args=(text,)) if _is_stored_alpha(text):
            return "the text of the file is parsed as a real number"
        case Item(base=base) if reads_tensors(base):
            return "the value is a tensor of the adapter file"
        case Attr(base=base, name=name) if (
            function.owner is not None and is_receiver(base, function) and number_role(name, True) == ALPHA
        ):
            declared = model.project.class_attribute(function.owner, name)
            if declared is not None and _is_real(declared[1]):
                return f"`{name}` has the default `{source_text(declared[1])}`"
            writes = model.project.writes(function.owner, name)
            reasons = [_real_valued(model, write.function, write.event.value) for write in writes]
            return reasons[0] if reasons and all(reasons) else None
        case _:
            pass
    return None


def _is_stored_alpha(term: Term) -> bool:
    """Is ``term`` the alpha in a file's metadata, such as kohya's ``ss_network_alpha``?"""
    found = lookup(term)
    if found is None or not is_alpha_key(key_pattern(found[1])):
        return False
    return key_pattern(found[1]).startswith("ss_") or any(
        isinstance(part, Attr | Global | Param | Call) and "meta" in getattr(part, "name", "").lower()
        for part in (found[0], getattr(found[0], "func", None))
    )


def _is_real(term: Term | None) -> TypeGuard[Const]:
    """Is ``term`` a literal such as ``16.0``?"""
    return isinstance(term, Const) and isinstance(term.value, float)


def _signs(function: Function) -> frozenset[str]:
    return frozenset(
        term.sign
        for event in function.facts.events
        for term in walk(event.value, *(guard.test for guard in event.guards))
        if isinstance(term, Op)
    )
