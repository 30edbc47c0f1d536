"""LS407: LoKr divides alpha by a rank that its full matrices do not have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.alpha_is_rank_if import alpha_is_rank_if
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Global,
    Logic,
    Param,
    Term,
    each_term,
    walk,
)
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Model
from lorascale_lint.model.project import Class, Function, is_receiver
from lorascale_lint.model.values import Number
from lorascale_lint.rule import Rule

_FIRST = re.compile(r"(?i)(.*_)?w_?1")
_SECOND = re.compile(r"(?i)(.*_)?w_?2")
_FACTORED = re.compile(r"(?i)(.*_)?w_?[12]_?[ab]")
_FULL = re.compile(r"(?i).*(full|decompose|both|is_low_rank|has_rank|use_w).*")


class FullKroneckerScaled(Rule):
    """LoKr scaled by alpha / rank with both matrices full

    ## What it finds

    A LoKr layer that may keep both Kronecker factors as full matrices, divides alpha by the rank all the
    same, and saves alpha for other programs.

    ## Why it is wrong

    Without a low-rank factor there is no rank. Readers of such files (LyCORIS, ComfyUI, webui, InvokeAI)
    find none in the shapes and apply the weight at scale 1, whatever alpha says.

    ## Effect

    rank / alpha: 4.00x too strong elsewhere for alpha=1, rank=4.

    ## Bad

    ```python
    class LokrModule:
        def __init__(self, shape, lora_dim=4, alpha=1):
            if lora_dim < shape[0] / 2:
                self.lokr_w1_a = nn.Parameter(torch.empty(shape[0], lora_dim))
                self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, shape[1]))
            else:
                self.lokr_w1 = nn.Parameter(torch.empty(shape[0], shape[1]))
            if lora_dim < shape[2] / 2:
                self.lokr_w2_a = nn.Parameter(torch.empty(shape[2], lora_dim))
                self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, shape[3]))
            else:
                self.lokr_w2 = nn.Parameter(torch.empty(shape[2], shape[3]))
            self.scale = alpha / lora_dim
            self.register_buffer("alpha", torch.tensor(alpha))
    ```

    ## Good

    ```python
    class LokrModule:
        def __init__(self, shape, lora_dim=4, alpha=1):
            if lora_dim < shape[0] / 2:
                self.lokr_w1_a = nn.Parameter(torch.empty(shape[0], lora_dim))
                self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, shape[1]))
            else:
                self.lokr_w1 = nn.Parameter(torch.empty(shape[0], shape[1]))
            if lora_dim < shape[2] / 2:
                self.lokr_w2_a = nn.Parameter(torch.empty(shape[2], lora_dim))
                self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, shape[3]))
            else:
                self.lokr_w2 = nn.Parameter(torch.empty(shape[2], shape[3]))
            if hasattr(self, "lokr_w1") and hasattr(self, "lokr_w2"):
                alpha = lora_dim
            self.scale = alpha / lora_dim
            self.register_buffer("alpha", torch.tensor(alpha))
    ```

    ## Fix safety

    Unsafe: the scale of a layer with two full matrices becomes 1, which is what readers apply. Files that
    were saved already need another alpha, and a run that is resumed goes on at another scale. No fix where
    alpha and rank are no plain names in the constructor.

    ## Limits

    Silent if any method asks for both matrices together, and for classes that save no alpha: a library
    that keeps alpha in a configuration of its own (PEFT) may divide.

    ## References

    - LyCORIS 1554a3e3, `LokrModule.__init__`
    """

    code = "LS407"
    name = "full-kronecker-scaled"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each scale of a class that may have two full matrices."""
        for cls in dict.fromkeys(f.owner for f in model.functions if f.owner is not None):
            methods = tuple(model.project.methods(cls))
            full = _full_matrices(methods)
            if full is None or not _saves_alpha(methods) or _asks_for_both(methods):
                continue
            for function, event in _scales(model, cls, methods):
                yield self.finding(
                    model,
                    function.filename,
                    event.loc,
                    f"`{function.facts.qualname}` divides alpha by the rank where both Kronecker factors may "
                    "be full matrices",
                    event=event,
                    effect="rank / alpha of the trained strength in every reader of the file",
                    trace=(
                        (function.filename, full[0].loc, "the first factor may be a full matrix"),
                        (function.filename, full[1].loc, "and so may the second"),
                        (function.filename, event.loc, "the scale divides by a rank that neither has"),
                    ),
                    fix=_repair(model, function, event, methods, full),
                )


def _repair(
    model: Model, function: Function, event: Event, methods: tuple[Function, ...], full: tuple[Event, Event]
) -> Repair | None:
    saved = [
        buffer
        for name, method, buffer in _own_writes(methods)
        if name == "alpha" and method is function and buffer.kind == "call"
    ]
    questions = [_question(function, methods, matrix) for matrix in full]
    if len(saved) != 1 or None in questions:
        return None
    condition = " and ".join(question for question in questions if question is not None)
    return alpha_is_rank_if(model, function, event.loc, saved[0].loc, condition)


def _question(function: Function, methods: tuple[Function, ...], matrix: Event) -> str | None:
    """How ``function`` asks for the full ``matrix``: by a flag that goes with it, or by its name."""
    target = matrix.target
    if not isinstance(target, Attr) or matrix not in function.facts.events:
        return None
    digit = "1" if _FIRST.fullmatch(target.name) else "2"
    flags: dict[str, set[object]] = {}
    for name, _, event in _own_writes(methods):
        if isinstance(event.value, Const) and re.fullmatch(rf"use_w_?{digit}", name):
            together = [(g.test, g.holds) for g in event.guards] == [(g.test, g.holds) for g in matrix.guards]
            if event.value.value is True and together:
                flags.setdefault(name, set()).add(True)
            elif event.value.value is False and not event.guards:
                flags.setdefault(name, set()).add(False)
    flag = next((name for name, values in flags.items() if values == {True, False}), None)
    return f'hasattr({function.receiver}, "{target.name}")' if flag is None else f"{function.receiver}.{flag}"


def _own_writes(methods: tuple[Function, ...]) -> Iterator[tuple[str, Function, Event]]:
    for method in methods:
        for event in method.events("write"):
            if isinstance(event.target, Attr) and is_receiver(event.target.base, method):
                yield event.target.name, method, event
        for event in method.events("call"):
            call = event.value
            if (
                isinstance(call, Call)
                and getattr(call.func, "name", "").startswith("register_")
                and call.args
            ):
                name = call.args[0]
                if isinstance(name, Const) and isinstance(name.value, str):
                    yield name.value, method, event


def _full_matrices(methods: tuple[Function, ...]) -> tuple[Event, Event] | None:
    """Where the class makes both full matrices, if it also makes factored ones."""
    made: dict[str, Event] = {}
    factored = set()
    for name, _, event in _own_writes(methods):
        if _FACTORED.fullmatch(name):
            factored.add("1" if "1" in name else "2")
        for key, pattern in (("1", _FIRST), ("2", _SECOND)):
            if pattern.fullmatch(name) and not _FULL.fullmatch(name):
                made.setdefault(key, event)
    return (made["1"], made["2"]) if set(made) == factored == {"1", "2"} else None


def _saves_alpha(methods: tuple[Function, ...]) -> bool:
    return any(
        name == "alpha"
        and event.kind == "call"
        and getattr(event.value.func, "name", "") == "register_buffer"
        for name, _, event in _own_writes(methods)
        if isinstance(event.value, Call)
    )


def _asks_for_both(methods: tuple[Function, ...]) -> bool:
    """Does some condition ask for the form of both matrices at once?"""
    for method in methods:
        for _, term in each_term(method.facts.events):
            if isinstance(term, Logic):
                names = {part.name for part in walk(term) if isinstance(part, Attr | Param | Global)}
                names |= {
                    part.value
                    for part in walk(term)
                    if isinstance(part, Const) and isinstance(part.value, str)
                }
                if any(_FIRST.fullmatch(n) for n in names) and any(_SECOND.fullmatch(n) for n in names):
                    return True
                if any(isinstance(part, Choice | Logic) for part in (term.left, term.right)) and not names:
                    return True
    return False


def _scales(model: Model, cls: Class, methods: tuple[Function, ...]) -> Iterator[tuple[Function, Event]]:
    for _, method, event in _own_writes(methods):
        if event.kind != "write" or event.sign:
            continue
        values = [a.value for a in model.evaluator.values(event.value, model.evaluator.frame(method, cls))]
        if not any(isinstance(value, Number) and value.scale.is_trained for value in values):
            continue
        tests: list[Term] = [guard.test for guard in event.guards]
        tests += [
            part.test for part in walk(event.value) if isinstance(part, Choice) and part.test is not None
        ]
        if not any(_about_form(test) for test in tests):
            yield method, event


def _about_form(test: Term) -> bool:
    """Is a condition about the matrices? Flags in local names are seen as the conditions they joined."""
    if isinstance(test, Logic) and test.sign == "and":
        return True
    return any(
        isinstance(part, Attr | Param | Global)
        and (_FIRST.fullmatch(part.name) or _SECOND.fullmatch(part.name) or _FULL.fullmatch(part.name))
        for part in walk(test)
    )
