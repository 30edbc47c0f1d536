"""LS107: raw alpha is multiplied onto the delta and never divided by the rank."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.codemods.divide_by_rank import divide_by_rank
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Loc,
    Negative,
    Op,
    Param,
    Term,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Step
from lorascale_lint.model.carried_alpha import carried_alphas, divides_by_an_extent
from lorascale_lint.model.constant_scales import other_branch_scales
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.multiplications import Multiplication, ScalePath, guarded_terms, possible
from lorascale_lint.model.project import Class, Function, bound_arguments, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK, SCALING, STRENGTH, Scale
from lorascale_lint.model.scale_definitions import ScaleDefinition, has_factors, scale_definitions
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side, is_alpha_key, number_role
from lorascale_lint.rule import Rule

_ALPHA_WORD = re.compile(r"(?i)alpha")
_CALLER_DEPTH = 3
_REAL_ALPHAS = frozenset(["lora_alpha", "network_alpha"])
"""In a signature with a rank, these are no strengths, whatever their default is."""


class UndividedAlpha(Rule):
    """Alpha multiplied onto a delta without dividing by the rank

    ## What it finds

    A delta multiplied by a real alpha and by nothing else of the trained scale: the `alpha` of a
    constructor that takes the rank too, the `.alpha` of an adapter file, or an alpha that the rank stands in
    for, where nothing in the class or function divides by the rank. Also `self.scaling = lora_alpha`, and one
    method at alpha beside another at alpha / rank, one branch of
    an rsLoRA flag at alpha beside a divided one, and a file's alpha that is kept in a tuple, table or
    record with its factors and multiplies their product where they are used.

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

    Unsafe: for a rank other than 1 every result changes, and adapters trained with the raw alpha need
    alpha * rank in its place; say so in the release notes. No fix where the rank is not at hand.

    ## Limits

    Silent where the value is called with a quotient or a literal up to 1, or has such a default (a plain
    strength then), where the class has no rank, and where the file divides anything else by a rank.

    ## References

    - Hu et al., LoRA, section 4.1
    - rasbt/LLMs-from-scratch pull request 1080
    - deepbeepmeep/mmgp commit f261ed2d: the alpha of a list of factors is divided by the rank
    """

    code = "LS107"
    name = "undivided-alpha"
    fix = "sometimes"

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
        yield from self._siblings(model)
        yield from self._definitions(model)
        yield from self._carried(model)

    def _carried(self, model: Model) -> Iterator[Finding]:
        """Alphas of files that travel beside their factors and meet the delta as they are."""
        for function in model.functions:
            for found in () if is_test_file(function.filename) else carried_alphas(model.project, function):
                files = {function.filename, found.maker.filename}
                near = [f for f in model.project.functions.values() if f.filename in files]
                if any(divides_by_an_extent(other) for other in near):
                    continue
                yield self.finding(
                    model,
                    function.filename,
                    found.loc,
                    "delta multiplied by an alpha kept beside its factors and never divided by the rank",
                    event=found.event,
                    effect=effect_of(Scale.of(ALPHA)),
                    trace=[
                        (
                            found.maker.filename,
                            found.stored,
                            "the alpha of the file is kept beside the factors",
                        ),
                        (function.filename, found.loc, "and multiplies their product here, undivided"),
                    ],
                )

    def _siblings(self, model: Model) -> Iterator[Finding]:
        """Applications at alpha whose sibling applies the same delta at alpha / rank."""
        for implementation in model.implementations:
            for application in implementation.applications:
                scales = [scale.without(STRENGTH) for scale in application.scales]
                if not scales or any(scale != Scale.of(ALPHA) for scale in scales):
                    continue
                for sibling in implementation.trained_applications:
                    if sibling.owner is application.owner and all(
                        scale.power(ALPHA) and scale.power(RANK) for scale in sibling.scales
                    ):
                        function = application.function
                        told = f"`{sibling.function.facts.qualname}` applies it at {sibling.formula()}"
                        yield self.finding(
                            model,
                            function.filename,
                            application.loc,
                            f"delta applied at alpha, undivided, in `{function.facts.qualname}`",
                            event=application.event,
                            effect=effect_of(Scale.of(ALPHA)),
                            trace=[
                                *application.delta_steps(),
                                (sibling.function.filename, sibling.loc, told),
                            ],
                        )
                        break

    def _definitions(self, model: Model) -> Iterator[Finding]:
        """Classes whose scale is set to alpha as it came: ``self.scaling = lora_alpha``."""
        reported: set[Loc] = set()
        for found in scale_definitions(model):
            for term in found.leaves:
                origin = _defining_alpha(model, found, term) if term.loc not in reported else None
                if origin is None:
                    continue
                reported.add(term.loc)
                filename = found.function.filename
                use = f"`{found.name}`, which deltas are multiplied by, is set to it here"
                yield self.finding(
                    model,
                    filename,
                    term.loc,
                    f"`{found.name}` is `{source_text(term)}`, which is never divided by the rank",
                    event=found.event,
                    effect=effect_of(Scale.of(ALPHA)),
                    trace=[origin, (filename, found.loc, use)],
                    fix=None
                    if found.value is term and other_branch_scales(model, found)  # rsLoRA's needs a root
                    else divide_by_rank(model, found.function, term, found.event.loc),
                )

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
            fix=divide_by_rank(model, function, step.term, step.loc),
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


def _defining_alpha(model: Model, found: ScaleDefinition, term: Term) -> Step | None:
    """Where a definition gets the real alpha that ``term`` is, beside the rank; None if it is none."""
    function, owner = found.function, found.function.owner
    frame = model.evaluator.frame(function)
    if model.evaluator.single(_unwrapped(term), frame) != Number(Scale.of(ALPHA)):
        return None
    fallback = _falls_back_to_rank(model, found, term)
    divided = other_branch_scales(model, found) if found.value is term else ()
    if divided:
        return divided[0]
    if not found.name:
        return None if fallback is None or _divides(model, function) else fallback
    if owner is None or not has_factors(model, owner) or _divides_in_line(model, owner):
        return None
    if fallback is not None:
        return fallback
    match term:
        case Param(name=name) if term.function == function.facts.qualname:
            return _taken_beside_rank(model, function, name)
        case Attr(base=Param() as config, name=name) if name in _REAL_ALPHAS and not is_receiver(
            config, function
        ):
            return _rank_of_same_object(function, term)
        case Attr(base=base, name=name) if is_receiver(base, function):
            values = [_unwrapped(write.event.value) for write in model.project.writes(owner, name)]
            taken = {value.name for value in values if isinstance(value, Param)}
            constructor = model.project.method(owner, "__init__")
            if constructor is None or not values or len(taken) != 1:
                return None
            if not all(isinstance(value, Param) for value in values):
                return None
            return _taken_beside_rank(model, constructor, taken.pop())
        case _:
            return None


def _taken_beside_rank(model: Model, function: Function, name: str) -> Step | None:
    """``function`` takes alpha as ``name`` and the rank, or factor A that has it, beside it."""
    ranks = [
        p
        for p in function.facts.parameters
        if number_role(p.name, True) == RANK or factor_side(p.name, False) == "A"
    ]
    parameter = function.parameter(name)
    if not ranks or parameter is None or not _is_real_alpha(model, function, name, _CALLER_DEPTH):
        return None
    text = f"`{function.facts.name}` takes alpha as `{name}`, and the rank with `{ranks[0].name}`"
    return function.filename, parameter.loc, text


def _rank_of_same_object(function: Function, alpha: Attr) -> Step | None:
    """The rank is read from the configuration that alpha is read from."""
    for event in function.facts.events:
        for part in walk(event.value):
            if isinstance(part, Attr) and part.base is alpha.base and number_role(part.name, True) == RANK:
                text = f"the rank, `{source_text(part)}`, comes from where `{source_text(alpha)}` does"
                return function.filename, part.loc, text
    return None


def _falls_back_to_rank(model: Model, found: ScaleDefinition, term: Term) -> Step | None:
    """Where the rank stands in for a missing alpha: what is replaced by a rank is no plain multiplier."""
    function = found.function
    frame = model.evaluator.frame(function)
    options = [option for option in found.leaves if option is not term]
    if isinstance(term, Call) and getattr(term.func, "name", "") in ("get", "pop") and len(term.args) == 2:
        options.append(term.args[1])
    for option in options:
        if model.evaluator.single(option, frame) == Number(Scale.of(RANK)):
            return function.filename, option.loc, "a missing alpha is the rank, so alpha is a real one"
    return None


def _divides_in_line(model: Model, owner: Class) -> bool:
    """Does the class, a relative, or whoever makes one of them divide by a rank?"""
    relatives = model.project.family(owner)
    for cls in relatives:
        methods = tuple(model.project.methods(cls))
        makers = [
            site.caller
            for method in methods
            if method.facts.name == "__init__"
            for site in model.project.call_sites(method)
            if site.caller.owner not in relatives
        ]
        if any(_divides(model, function) for function in (*methods, *makers)):
            return True
    return False


def _unwrapped(term: Term) -> Term:
    while isinstance(term, Call) and len(term.args) == 1:
        term = term.args[0]
    return term


def _is_real_alpha(model: Model, function: Function, name: str, depth: int) -> bool:
    """Is the parameter a real alpha: called so, and never given a quotient or a plain strength?"""
    parameter = function.parameter(name)
    if parameter is None or number_role(name, True) != ALPHA:
        return False
    whole = "int" in parameter.annotation or name in _REAL_ALPHAS
    default = parameter.default
    if isinstance(default, Const) and not is_none(default) and not _may_be_alpha(default) and not whole:
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
    return any(
        _divides(model, other)
        for other in model.project.functions.values()
        if other.filename == function.filename
    )


def _divides(model: Model, function: Function) -> bool:
    """Is there a division by a rank, or a multiplication by its inverse or inverse root?"""
    if not model.evaluator.in_lora_context(function):
        return False
    frame = model.evaluator.frame(function)
    for event in function.facts.events:
        for term in walk(event.value):
            match term:
                case Op(sign="/" | "//", right=right):
                    divisor = model.evaluator.single(right, frame)
                    if isinstance(divisor, Number) and divisor.scale.power(RANK) >= Fraction(1):
                        return True
                    if _is_called_rank(right):
                        return True
                case Op(sign="**", left=left, right=Negative()):
                    base = model.evaluator.single(left, frame)
                    if isinstance(base, Number) and base.scale.power(RANK) > 0:
                        return True
                case _:
                    pass
    return False


def _is_called_rank(divisor: Term) -> bool:
    """Is it a rank by its name: AdaLoRA's ``self.ranknum[adapter] + 1e-5``, a tensor?"""
    while isinstance(divisor, Op | Item):
        divisor = divisor.left if isinstance(divisor, Op) else divisor.base
    name = divisor.name if isinstance(divisor, Attr | Global | Param) else ""
    return number_role(name, True) == RANK
