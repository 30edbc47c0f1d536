"""LS107: raw alpha is multiplied onto the delta and never divided by the rank."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Call, Const, Event, Item, Loc, Op, Param, Term, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Step
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.multiplications import Multiplication, ScalePath, guarded_terms, possible
from lorascale_lint.model.project import Function, bound_arguments, is_receiver
from lorascale_lint.model.scale import ALPHA, RANK, SCALING, STRENGTH, Scale
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import is_alpha_key, number_role
from lorascale_lint.rule import Rule

_ALPHA_WORD = re.compile(r"(?i)alpha")
_CALLER_DEPTH = 3


class UndividedAlpha(Rule):
    """Alpha multiplied onto a delta without dividing by the rank

    ## What it finds

    A delta multiplied by a real alpha and by nothing else of the trained scale: the `alpha` of a
    constructor that takes the rank too, or the `.alpha` of an adapter file, where nothing in the class
    or function divides by the rank.

    ## Why it is wrong

    Alpha belongs to a rank: the trained update is `alpha / r * B A x`. Without the division the update is
    r times too strong, changes with the rank, and no adapter trained elsewhere fits.

    ## Effect

    128.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALayer:
        def __init__(self, lora_A, lora_B, rank, alpha):
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.rank = rank
            self.alpha = alpha

        def forward(self, x):
            return self.alpha * (x @ self.lora_A @ self.lora_B)
    ```

    ## Good

    ```python
    class LoRALayer:
        def __init__(self, lora_A, lora_B, rank, alpha):
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.rank = rank
            self.alpha = alpha

        def forward(self, x):
            return self.alpha / self.rank * (x @ self.lora_A @ self.lora_B)
    ```

    ## Fix safety

    No fix: for a rank other than 1 every result changes, and adapters trained with the raw alpha need
    alpha * rank in its place. Divide by the rank, and say so in the release notes.

    ## Limits

    Silent where the value is called with a quotient or a literal up to 1, or has such a default (a plain
    strength then), where the class has no rank, and where the file divides anything else by a rank.

    ## References

    - Hu et al., LoRA, section 4.1
    - rasbt/LLMs-from-scratch pull request 1080
    """

    code = "LS107"
    name = "undivided-alpha"

    def check(self, model: Model) -> Iterator[Finding]:
        """Deltas whose whole scale is alpha, where alpha is shown to be a real one."""
        for function in model.functions:
            frame = model.evaluator.frame(function)
            reported: set[Loc] = set()
            for event, term, guards in guarded_terms(function, _ALPHA_WORD):
                if not isinstance(term, Op | Call):
                    continue
                for path in model.multiplications.paths(term, frame):
                    step = _raw_alpha(path, function)
                    if step is None or step.loc in reported or not possible(path, guards, frame):
                        continue
                    origin = _class_alpha(model, function, step) or _file_alpha(step)
                    if origin is not None and not _divides_by_rank(model, function):
                        reported.add(step.loc)
                        yield self._report(model, function, event, step, origin)

    def _report(
        self, model: Model, function: Function, event: Event, step: Multiplication, origin: Step
    ) -> Finding:
        return self.finding(
            model,
            function.filename,
            step.loc,
            f"delta multiplied by `{step.text}`, which is never divided by the rank",
            event=event,
            effect=effect_of(step.scale.without(STRENGTH)),
            trace=[origin, (function.filename, step.loc, "alpha reaches the delta undivided here")],
        )


def _raw_alpha(path: ScalePath, function: Function) -> Multiplication | None:
    """The step that brings alpha, if it is the only part of a trained scale on the path."""
    steps = [step for step in path.steps if step.scale.power(ALPHA)]
    if len(steps) != 1 or not path.certain or path.tensors or not path.is_delta or steps[0].unseen:
        return None
    whole = path.scale.without(STRENGTH)
    return steps[0] if whole == Scale.of(ALPHA) and steps[0].function is function else None


def _class_alpha(model: Model, function: Function, step: Multiplication) -> Step | None:
    """Where the constructor takes alpha beside the rank, and every caller gives it a real alpha."""
    owner = function.owner
    if owner is None or not isinstance(step.term, Attr) or not is_receiver(step.term.base, function):
        return None
    writes = model.project.writes(owner, step.term.name)
    constructor = model.project.method(owner, "__init__")
    if constructor is None or not writes:
        return None
    ranks = [p for p in constructor.facts.parameters if number_role(p.name, True) == RANK]
    for write in writes:
        value = _unwrapped(write.event.value)
        taken = isinstance(value, Param) and write.function is constructor and not write.event.sign
        if not ranks or not taken or not isinstance(value, Param):
            return None
        if not _is_real_alpha(model, constructor, value.name, _CALLER_DEPTH):
            return None
    text = f"the constructor takes the rank, `{ranks[0].name}`, and stores alpha as it is"
    return writes[0].function.filename, writes[0].event.loc, text


def _unwrapped(term: Term) -> Term:
    while isinstance(term, Call) and len(term.args) == 1:
        term = term.args[0]
    return term


def _is_real_alpha(model: Model, function: Function, name: str, depth: int) -> bool:
    """Is the parameter a real alpha: called so, and never given a quotient or a plain strength?"""
    parameter = function.parameter(name)
    if parameter is None or number_role(name, True) != ALPHA:
        return False
    if isinstance(parameter.default, Const) and not _may_be_alpha(parameter.default):
        return False
    for site in model.project.call_sites(function):
        argument = bound_arguments(site.call, function).get(name)
        if argument is None:
            continue
        value = model.evaluator.single(argument, model.evaluator.frame(site.caller))
        if isinstance(value, Number) and (value.scale.power(RANK) or value.scale.power(SCALING)):
            return False
        if isinstance(argument, Const) and not _may_be_alpha(argument):
            return False
        if isinstance(argument, Param):
            captured = not depth or argument.function != site.caller.facts.qualname
            if not captured and not _is_real_alpha(model, site.caller, argument.name, depth - 1):
                return False
        elif any(isinstance(part, Op) for part in walk(argument)):
            return False
    return True


def _may_be_alpha(constant: Const) -> bool:
    """Is a literal more than 1, as alphas are and strengths are not?"""
    return isinstance(constant.value, int | float) and constant.value > 1


def _file_alpha(step: Multiplication) -> Step | None:
    """Where alpha is read from an adapter dictionary."""
    for part in walk(step.term):
        key: Term | None = None
        if isinstance(part, Item):
            key = part.key
        elif isinstance(part, Call) and getattr(part.func, "name", "") in ("get", "pop") and part.args:
            key = part.args[0]
        text = "" if key is None else key_pattern(key)
        if text.endswith(".alpha") and is_alpha_key(text):
            return step.function.filename, part.loc, f"alpha is read from the adapter's `{text}`"
    return None


def _divides_by_rank(model: Model, function: Function) -> bool:
    """Does anything in the file divide by a rank (an initialisation by its root set aside)?"""
    for other in model.project.functions.values():
        if other.filename != function.filename or not model.evaluator.in_lora_context(other):
            continue
        frame = model.evaluator.frame(other)
        for event in other.facts.events:
            for term in walk(event.value):
                if isinstance(term, Op) and term.sign in ("/", "//"):
                    divisor = model.evaluator.single(term.right, frame)
                    if isinstance(divisor, Number) and divisor.scale.power(RANK) >= 1:
                        return True
    return False
