"""LS106: the trained scale reaches a delta twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.codemods.drop_argument import drop_argument
from lorascale_lint.codemods.drop_factor import drop_trained_scale
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Call, Event, Global, Guard, Loc, Op, Term, source_text, walk
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Application, Step
from lorascale_lint.model.multiplications import Multiplication, ScalePath, guarded_terms, possible
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ALPHA, RANK, SCALING, Scale
from lorascale_lint.model.values import Number
from lorascale_lint.rule import Rule

_SCALE_WORD = re.compile(r"(?i)scal|alpha|gamma|rank|lora")
_MULTIPLYING_CALLS = frozenset("mul mul_ multiply multiply_ div div_ divide divide_".split())


class DoubleScale(Rule):
    """Trained scale multiplied onto a delta twice

    ## What it finds

    A delta that is multiplied by alpha / rank at two places on one path: in a helper, getter or
    property and again by its caller; on the activation between the factors and again on the output;
    on a factor and again on the product; or divided by the rank once more after alpha / rank.

    ## Why it is wrong

    The adapter was trained with the scale once. Twice is its square, and no other path of the
    program (another method, another tool, the trained forward) agrees with it.

    ## Effect

    2.00x too weak for alpha=64, rank=128; 2.00x too strong for alpha=128, rank=64; alpha = rank hides it.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def delta_weight(self):
            return self.lora_B @ self.lora_A * self.scale

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale

        def merge(self):
            self.base_layer.weight.data += self.delta_weight() * self.scale
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def delta_weight(self):
            return self.lora_B @ self.lora_A * self.scale

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale

        def merge(self):
            self.base_layer.weight.data += self.delta_weight()
    ```

    ## Fix safety

    Safe: for alpha = rank both factors are 1. The outer multiplication goes, since other callers may rely
    on the inner one. Unsafe where the rank divides once more: that changes every adapter. An adapter that was
    trained with the doubled scale needs `alpha ** 2 / rank` in its file. `alpha=scale` of `add_` goes
    where the delta has the scale already. No fix where one argument holds the square.

    ## Limits

    Silent where the second factor is a strength, a literal or unknown, where some method sets the
    scale to a constant, and where a helper is called with a scale of 1. A function outside the given
    files that takes factors and their scale counts as scaling only if another method of the class
    uses its result as it is.

    ## References

    - LyCORIS 3.2, `get_diff_weight` of LoHa and LoKr: 0.5 of the trained strength at alpha / rank = 0.5
    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r, once
    """

    code = "LS106"
    name = "double-scale"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Products in LoRA code whose path multiplies by the trained scale twice."""
        for function in model.functions:
            reported: set[Loc] = set()
            for event, term, guards in guarded_terms(function, _SCALE_WORD):
                found = _doubled(model, function, term, guards) if _multiplies(term) else None
                if found is not None and found[1].loc not in reported:
                    path, last, first = found
                    reported.add(last.loc)
                    yield self._report(model, function, event, path, last, first)
            yield from self._squares(model, function, frozenset(loc.row for loc in reported))

    def _squares(self, model: Model, function: Function, rows: frozenset[int]) -> Iterator[Finding]:
        """Applications at the square of the scale that no product shows: ``add(delta, alpha=s * s)``."""
        for application in model.applications:
            span = range(application.event.row, application.event.end_row + 1)
            if application.function is not function or rows.intersection(span):
                continue
            if rows.intersection(part.loc.row for part in walk(application.delta)):
                continue  # the delta was bound to a name before
            if application.scales and all(map(_is_square, application.scales)):
                square = application.scales[0]
                yield self.finding(
                    model,
                    function.filename,
                    application.loc,
                    f"trained scale applied twice in `{function.facts.qualname}`: {square.formula()}",
                    event=application.event,
                    effect=effect_of(square),
                    trace=application.delta_steps(),
                    fix=_without_alpha(model, application),
                )

    def _report(
        self,
        model: Model,
        function: Function,
        event: Event,
        path: ScalePath,
        last: Multiplication,
        first: Multiplication,
    ) -> Finding:
        hands = (
            "goes, with the factors, into a function outside these files" if first.unseen else "is applied"
        )
        steps: list[Step] = [
            (first.function.filename, first.loc, f"the trained scale `{first.text}` {hands} here")
        ]
        steps += [
            (via.filename, loc, f"`{via.facts.name}` returns the scaled delta") for via, loc in path.via[:3]
        ]
        steps.append((function.filename, last.loc, f"and `{last.text}` is multiplied on again here"))
        fix = drop_trained_scale(
            model,
            last,
            "safe" if last.scale.is_trained and first.scale.is_trained else "unsafe",
            f"Leave out `{last.text}`, which is multiplied on before",
        )
        return self.finding(
            model,
            function.filename,
            last.loc,
            f"trained scale applied twice in `{function.facts.qualname}`: `{last.text}` and `{first.text}`",
            event=event,
            effect=effect_of(last.scale * first.scale),
            trace=steps,
            fix=fix,
        )


def _without_alpha(model: Model, application: Application) -> Repair | None:
    """``add(base, delta, alpha=scale)`` without its scale, where the delta has the trained one already."""
    call = next(
        (t for t in walk(application.event.value) if t.loc == application.loc and isinstance(t, Call)), None
    )
    given = None if call is None else dict(call.keywords).get("alpha")
    if given is None:
        return None
    frame = model.evaluator.frame(application.function)
    values = [found.value for found in model.evaluator.values(given, frame)]
    if not values or not all(isinstance(value, Number) and value.scale.is_trained for value in values):
        return None
    if any(scale.power(ALPHA) != 2 for scale in application.scales):
        return None
    message = f"Leave out `alpha={source_text(given)}`, which the delta has already"
    return drop_argument(model, application.function.filename, application.loc, "alpha", "safe", message)


def _is_square(scale: Scale) -> bool:
    """Twice the trained scale, or once and its root again where both factors were to have the root."""
    return scale.power(ALPHA) in (Fraction(3, 2), 2) and scale.power(RANK) == -scale.power(ALPHA)


def _multiplies(term: Term) -> bool:
    if isinstance(term, Op):
        return term.sign in ("*", "/")
    func = term.func if isinstance(term, Call) else None
    return isinstance(func, Attr | Global) and func.name in _MULTIPLYING_CALLS


def _doubled(
    model: Model, function: Function, term: Term, guards: tuple[Guard, ...]
) -> tuple[ScalePath, Multiplication, Multiplication] | None:
    """A path of ``term`` with two trained scales, the last of them multiplied on by ``function``."""
    frame = model.evaluator.frame(function)
    for path in model.multiplications.paths(term, frame):
        if not path.certain or not (path.sides or path.is_delta) or not possible(path, guards, frame):
            continue
        for position, last in enumerate(path.steps):
            for first in path.steps[position + 1 :]:
                sure = last.scale.power(ALPHA) or last.text == first.text
                if not path.is_delta and not (sure and first.function is function):
                    continue  # of a single factor, only this function's own arithmetic is sure
                if last.function is function and not last.unseen and _twice(last, first):
                    if first.unseen and not _used_as_it_is(model, function, path, first):
                        continue
                    return path, last, first
    return None


def _twice(last: Multiplication, first: Multiplication) -> bool:
    """Do two factors apply one scale twice? Scales known by name alone must be the same name."""
    if last.scale.is_trained and first.scale.is_trained:
        by_name = last.scale.power(SCALING) or first.scale.power(SCALING)
        return not by_name or last.text == first.text
    trained, other = (last, first) if last.scale.is_trained else (first, last)
    divides = other.scale.power(RANK) == Fraction(-1) and len(other.scale.powers) == 1
    same_rank = other.text in {source_text(part) for part in walk(trained.term)}
    return bool(divides and trained.scale.is_trained and trained.scale.power(ALPHA) and same_rank)


def _used_as_it_is(model: Model, function: Function, path: ScalePath, first: Multiplication) -> bool:
    """Does another method of the class use the result of the same call without scaling it again?"""
    if function.owner is None or not path.via:
        return False
    helper = path.via[0][0]
    for method in model.project.methods(function.owner):
        if method is function or method is helper:
            continue
        for event in method.events("call"):
            callees = (
                model.project.callees(event.value.func, method, None) if isinstance(event.value, Call) else ()
            )
            if helper in callees and not _scales_again(model, method, event.value):
                return True
    return False


def _scales_again(model: Model, method: Function, call: Term) -> bool:
    """Is the result of ``call`` multiplied by a trained scale in ``method``?"""
    frame = model.evaluator.frame(method)
    return any(
        step.scale.is_trained and step.function is method
        for event in method.events("return", "write", "bind", "call")
        for term in walk(event.value)
        if _multiplies(term) and call in walk(term)
        for path in model.multiplications.paths(term, frame)
        for step in path.steps
    )
