"""LS117: a function takes the user's strength and applies the delta without it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.use_parameter import use_parameter
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Loc,
    Param,
    Parameter,
    Term,
    walk,
)
from lorascale_lint.findings import Confidence, Finding
from lorascale_lint.model import Model
from lorascale_lint.model.one_sided_tests import OneSidedTest, one_sided_tests
from lorascale_lint.model.project import Function, bound_arguments, is_test_file
from lorascale_lint.model.scale import STRENGTH, Scale
from lorascale_lint.model.unused_scale import unused_parameters
from lorascale_lint.model.values import Delta
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule


class StrengthIgnored(Rule):
    """Strength taken and not applied

    ## What it finds

    A function that makes or applies a delta and has a parameter for the strength which nothing but a
    test for None or a message ever reads: also `if multiplier is None: multiplier = self.multiplier`
    followed by a product with `self.multiplier`. A shortcut for a strength of 1 whose test lacks an `abs`,
    such as `strength - 1 < 1e-5`.

    ## Why it is wrong

    The caller asks for a strength and gets another one, silently.

    ## Effect

    2.00x too strong for strength=0.5 where the delta is applied at full strength.

    ## Bad

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, lora_alpha, lora_rank, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.lora_scaling = lora_alpha / lora_rank
            self.multiplier = multiplier

        def get_weight(self, multiplier=None):
            if multiplier is None:
                multiplier = self.multiplier
            return self.multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.lora_scaling

        def merge_to(self, base_layer, multiplier):
            base_layer.weight.data += self.get_weight(multiplier)
    ```

    ## Good

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, lora_alpha, lora_rank, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.lora_scaling = lora_alpha / lora_rank
            self.multiplier = multiplier

        def get_weight(self, multiplier=None):
            if multiplier is None:
                multiplier = self.multiplier
            return multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.lora_scaling

        def merge_to(self, base_layer, multiplier):
            base_layer.weight.data += self.get_weight(multiplier)
    ```

    ## Fix safety

    Unsafe: callers who give a strength get it. Offered where the parameter takes the place of an attribute
    if it is None, and the attribute is used behind that all the same. Elsewhere multiply the delta by the
    parameter, or take the parameter away: it may be there for an interface.

    ## Limits

    Only parameters whose name says strength or multiplier, and only where the scale of every delta of
    the function is understood. Where no caller in the given files gives the argument, the finding is
    of medium confidence.

    ## References

    - kohya-ss/sd-scripts `networks/lora_diffusers.py`, `get_weight`, and its copies
    - nunchaku-tech/nunchaku `compose_lora`
    """

    code = "LS117"
    name = "strength-ignored"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Functions with a delta whose strength parameter is never read."""
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for found in one_sided_tests(function):
                yield self._one_sided(model, found)
            for parameter in function.facts.parameters:
                if not _means_strength(parameter) or _is_read(model, function, parameter.name):
                    continue
                if any(found.loc == parameter.loc for found in unused_parameters(model, function)):
                    continue  # LS108: nothing scales the delta at all
                place = _delta(model, function)
                if place is not None:
                    yield self._report(model, function, parameter, *place)

    def _one_sided(self, model: Model, found: OneSidedTest) -> Finding:
        filename, others = found.function.filename, "smaller" if found.smaller else "larger"
        effect = "2.00x too strong for strength=0.5" if found.smaller else "2.00x too weak for strength=2"
        return self.finding(
            model,
            filename,
            found.test.loc,
            f"every `{found.strength}` {others} than 1 is taken for 1",
            event=found.event,
            effect=effect,
            trace=(
                (filename, found.test.loc, f"the difference from 1 is negative for a {others} strength"),
                (filename, found.event.loc, "so that this is reached for it too")
                if found.event.kind == "return"
                else (filename, found.event.loc, "so that this is not reached for it"),
            ),
        )

    def _report(
        self, model: Model, function: Function, parameter: Parameter, event: Event, loc: Loc, scale: Scale
    ) -> Finding:
        name = parameter.name
        given, caller = _given(model, function, name)
        trace = [(function.filename, parameter.loc, f"`{name}` is asked for here")]
        if caller is not None:
            trace.append((caller[0], caller[1], "and given here"))
        trace.append((function.filename, loc, f"the delta is made at {scale.formula()}, without it"))
        return self.finding(
            model,
            function.filename,
            loc,
            f"`{function.facts.name}` takes `{name}` and never applies it",
            event=event,
            confidence=given,
            effect="2.00x too strong for strength=0.5",
            trace=trace,
            fix=use_parameter(model, function, name),
        )


def _means_strength(parameter: Parameter) -> bool:
    return parameter.kind not in ("args", "kwargs") and number_role(parameter.name, True) == STRENGTH


def _is_read(model: Model, function: Function, name: str) -> bool:
    """Does anything but a test, its own default, or a message read the parameter?"""
    inner = f"{function.facts.qualname}."
    for other in model.project.functions.values():
        if other.filename != function.filename:
            continue
        if other is not function and not other.facts.qualname.startswith(inner):
            continue
        for event in other.facts.events:
            if event.kind == "test" or (event.kind == "bind" and event.name == name) or _is_message(event):
                continue
            terms = (event.value,) if event.target is None else (event.value, event.target)
            if any(_is_parameter(part, function, name) for part in walk(*terms)):
                return True
    return False


def _is_parameter(term: Term, function: Function, name: str) -> bool:
    return isinstance(term, Param) and term.name == name and term.function == function.facts.qualname


def _is_message(event: Event) -> bool:
    """Is this ``print(...)`` or ``logger.info(...)``?"""
    match event.value:
        case Call(func=Global(name="print")):
            return event.kind == "call"
        case Call(func=Attr(name="debug" | "info" | "warning" | "warn" | "error")):
            return event.kind == "call"
        case _:
            return False


def _delta(model: Model, function: Function) -> tuple[Event, Loc, Scale] | None:
    """A delta that the function applies or returns, if the scale of each of them is known."""
    found: list[tuple[Event, Loc, Scale]] = [
        (application.event, application.loc, scale)
        for application in model.applications
        if application.function is function
        for scale in application.scales
    ]
    frame = model.evaluator.frame(function)
    if model.evaluator.in_lora_context(function):
        found += [
            (event, event.value.loc, alternative.value.scale)
            for event in function.events("return")
            for alternative in model.evaluator.values(event.value, frame)
            if isinstance(alternative.value, Delta)
        ]
    known = all(scale.known for _, _, scale in found)
    return found[0] if found and known else None


def _given(model: Model, function: Function, name: str) -> tuple[Confidence, tuple[str, Loc] | None]:
    """Whether a caller gives the argument, and where."""
    for site in model.project.call_sites(function):
        argument = bound_arguments(site.call, function).get(name)
        if argument is None or is_test_file(site.caller.filename):
            continue
        if not (isinstance(argument, Const) and argument.value in (None, 1, 1.0)):
            return "high", (site.caller.filename, site.call.loc)
    return "medium", None
