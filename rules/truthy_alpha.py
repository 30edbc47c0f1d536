"""LS205: the truth of alpha chooses the scale, so that alpha 0 runs at full strength."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.compare_with_none import compare_with_none
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Guard,
    Item,
    Loc,
    Logic,
    Not,
    Op,
    Param,
    Term,
    each_term,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Application
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.origins import value_converted
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK, Scale
from lorascale_lint.model.values import Delta, Factor, Number, Value
from lorascale_lint.model.vocabulary import is_alpha_key, number_role
from lorascale_lint.rule import Rule


class TruthyAlpha(Rule):
    """Scale chosen by the truth of alpha

    ## What it finds

    `alpha / rank if alpha and rank else 1.0` (or the same as a branch) at an application, or where its
    scale is made: where alpha is 0, the delta is applied unscaled. An alpha that is looked up in an
    adapter counts as well; a parameter that nobody applies in sight is of medium confidence.

    ## Why it is wrong

    0 is a value: `0 / r` switches the adapter off (PEFT). Together with a truncated alpha it also
    catches 0.5, which becomes 0 and then full strength.

    ## Effect

    Effective scale 1 instead of 0 for alpha = 0.

    ## Bad

    ```python
    class LoRALinear:
        def merge(self):
            lora_delta = self.lora_B @ self.lora_A
            scaled = self.lora_alpha and self.lora_rank
            scale = self.lora_alpha / self.lora_rank if scaled else 1.0
            lora_delta *= scale
            self.base_layer.weight.data += lora_delta
    ```

    ## Good

    ```python
    class LoRALinear:
        def merge(self):
            lora_delta = self.lora_B @ self.lora_A
            scaled = self.lora_alpha is not None and self.lora_rank
            scale = self.lora_alpha / self.lora_rank if scaled else 1.0
            lora_delta *= scale
            self.base_layer.weight.data += lora_delta
    ```

    ## Fix safety

    Safe: for alpha = rank the test holds in both forms.

    ## Limits

    The rule "alpha None or 0 means rank" (kohya), `alpha if alpha else rank`, is a convention and not
    reported: only where alpha's truth decides between alpha / rank and no scale at all. In files that speak
    of kohya's keys (`lora_down`, `lora_unet_`) that is the same convention in other words, so it is of
    medium confidence there, unless alpha is called `lora_alpha`.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `merge_lora_weights`
    """

    code = "LS205"
    name = "truthy-alpha"
    severity = "warning"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Applications, and scales made beforehand, whose trained branch is chosen by the truth of alpha."""
        reported: set[tuple[str, Loc]] = set()
        for application in model.applications:
            term = _truth_test(model, application)
            if term is None:
                continue
            function = application.function
            reported.add((function.filename, term.loc))
            yield self.finding(
                model,
                function.filename,
                term.loc,
                "alpha 0 is taken for a missing alpha, so the delta is applied unscaled",
                effect="effective scale 1 instead of 0 for alpha=0",
                trace=[
                    (function.filename, application.loc, f"the delta is applied at {application.formula()}"),
                ],
                fix=compare_with_none(model, function, term) if isinstance(term, Attr | Param) else None,
                confidence="medium" if _keeps_kohyas_rule(model, function, term) else "high",
            )
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for event, choice, term in _chosen_scales(model, function):
                if (function.filename, term.loc) in reported:
                    continue
                reported.add((function.filename, term.loc))
                yield self.finding(
                    model,
                    function.filename,
                    term.loc,
                    "alpha 0 is taken for a missing alpha, so the scale becomes 1",
                    event=event,
                    effect="effective scale 1 instead of 0 for alpha=0",
                    trace=[
                        (
                            function.filename,
                            choice.loc,
                            "alpha / rank on one branch, and no scale on the other",
                        )
                    ],
                    fix=compare_with_none(model, function, term) if isinstance(term, Attr | Param) else None,
                    confidence="medium"
                    if isinstance(term, Param) or _keeps_kohyas_rule(model, function, term)
                    else "high",
                )


def _chosen_scales(model: Model, function: Function) -> Iterator[tuple[Event, Choice, Term]]:
    """Choices between the trained scale and none by the truth of an alpha, made into a number or a tensor."""
    frame = model.evaluator.frame(function)
    for event, choice in each_term(function.events("write", "bind", "return", "call")):
        if not isinstance(choice, Choice) or choice.test is None:
            continue
        guard = _plain(Guard(choice.test, True))
        alpha = _alpha_operand(guard.test)
        if alpha is None:
            continue
        present, missing = (choice.then, choice.other) if guard.holds else (choice.other, choice.then)
        scaled = _scale(model.evaluator.single(present, frame))
        unscaled = _scale(model.evaluator.single(missing, frame))
        if scaled is not None and unscaled is not None and scaled.is_trained and unscaled.is_unscaled:
            yield event, choice, alpha


def _keeps_kohyas_rule(model: Model, function: Function, alpha: Term) -> bool:
    """Does the file read kohya's adapters, whose alpha 0 means the rank, and with it scale 1?"""
    if "lora_alpha" in source_text(alpha):
        return False
    beside = (item for item in model.project.functions.values() if item.filename == function.filename)
    return any(_KOHYA.search(word) for item in beside for word in item.facts.words)


def _scale(value: Value) -> Scale | None:
    """The scale of a number, or the one that a factor or delta carries."""
    return value.scale if isinstance(value, Number | Factor | Delta) else None


def _truth_test(model: Model, application: Application) -> Term | None:
    """The alpha whose truth tells a trained branch from an unscaled one."""
    scaled = [guards for scale, guards in application.guarded_scales if scale.is_trained]
    unscaled = [guards for scale, guards in application.guarded_scales if scale.is_unscaled]
    if not scaled or not unscaled:
        return None
    for holds, branches in ((True, scaled), (False, unscaled)):
        for guard in (_plain(guard) for guards in branches for guard in guards):
            found = _alpha_operand(guard.test) if guard.holds == holds else None
            if found is None or _rank_stands_in(model, application, guard.test):
                continue
            if not all(any(_says_none(other, found) for other in guards) for guards in unscaled):
                return found
    return None


def _rank_stands_in(model: Model, application: Application, test: Term) -> bool:
    """Does the rank take alpha's place where ``test`` fails: kohya's rule for an alpha that is None or 0?"""
    frame = model.evaluator.frame(application.function)
    return any(
        isinstance(part, Choice)
        and part.test is not None
        and _plain(Guard(part.test, True)).test is test
        and any(
            model.evaluator.single(branch, frame) == Number(Scale.of(RANK))
            for branch in (part.then, part.other)
        )
        for part in walk(application.event.value)
    )


def _plain(guard: Guard) -> Guard:
    """``guard`` without ``not`` around its test."""
    test, holds = guard.test, guard.holds
    while isinstance(test, Not):
        test, holds = test.operand, not holds
    return Guard(test, holds)


def _says_none(guard: Guard, alpha: Term) -> bool:
    """Does ``guard`` say that ``alpha`` is None, so that 0 goes another way?"""
    match guard.test:
        case Op(sign=("is" | "is not") as sign, left=left, right=Const(value=None)):
            return guard.holds == (sign == "is") and source_text(left) == source_text(alpha)
        case _:
            return False


def _alpha_operand(test: Term) -> Term | None:
    """The operand of a conjunction that is alpha itself."""
    match test:
        case Logic(sign="and", left=left, right=right):
            return _alpha_operand(left) or _alpha_operand(right)
        case Attr(name=name) | Param(name=name) if number_role(name, True) == ALPHA:
            return test
        case Item(key=key) | Call(func=Attr(name="get" | "pop"), args=(key, *_)) if _is_file_alpha(key):
            return test
        case (
            Item(base=Attr(name=table) | Param(name=table))
            | Call(func=Attr(base=Attr(name=table) | Param(name=table), name="get" | "pop"))
        ) if _ALPHA_TABLE.fullmatch(table):
            return test
        case Choice(then=then, other=other) if is_none(then) or is_none(other):
            return _alpha_operand(other if is_none(then) else then)
        case Call() if (inner := value_converted(test)) is not test:
            return _alpha_operand(inner)
        case _:
            return None


_KOHYA = re.compile(r"lora_(?:down|up|unet|te\d?)(?![a-z])")
_ALPHA_TABLE = re.compile(r"_?(?:(?:network|lora|layer|modules?)_)?alphas|_?modules?_alpha")


def _is_file_alpha(key: Term) -> bool:
    """Is ``key`` one under which adapters (or tables made of them) carry alpha?"""
    text = key_pattern(key)
    return text.rpartition(".")[2] in ("alpha", "lora_alpha", "network_alpha") and is_alpha_key(text)
