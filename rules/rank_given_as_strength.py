"""LS501: a call gives alpha, the rank or 1 / rank where the library wants a plain multiplier."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.give_strength_of_one import give_strength_of_one
from lorascale_lint.facts.extract import MODULE
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Op,
    Param,
    Sequence,
    Term,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.knowledge.interfaces import STRENGTH_ARGUMENTS, StrengthArgument, looks_like_alpha
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function, bound_arguments, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule

MULTIPLIERS = tuple(
    item for item in STRENGTH_ARGUMENTS if item.call and not item.entry and item.position is not None
)


class RankGivenAsStrength(Rule):
    """Alpha or rank given as a plain multiplier

    ## What it finds

    Calls of a library function whose argument multiplies the delta as it is (`fuse_lora(lora_scale=)`,
    `set_adapters(..., weights)`, DiffSynth's `load_lora(alpha=)`, PEFT's `scale_layer` ...) with an
    alpha, a rank, 1 / rank, or for DiffSynth an integer that can only be an alpha.

    ## Why it is wrong

    The multiplier is the user's strength: 1 applies the adapter as it was trained. The library has
    alpha / rank from the file, or takes alpha = rank if the file says nothing.

    ## Effect

    With 32 the adapter is applied 32 times too strong, which gives noise; with 1 / 32 it vanishes.

    ## Bad

    ```python
    from diffsynth.pipelines.flux_image import FluxImagePipeline


    def generate(lora_path, prompt):
        pipe = FluxImagePipeline.from_pretrained("FLUX.1-dev")
        pipe.load_lora(pipe.dit, lora_path, alpha=32)
        return pipe(prompt)
    ```

    ## Good

    ```python
    from diffsynth.pipelines.flux_image import FluxImagePipeline


    def generate(lora_path, prompt):
        pipe = FluxImagePipeline.from_pretrained("FLUX.1-dev")
        pipe.load_lora(pipe.dit, lora_path, alpha=1)
        return pipe(prompt)
    ```

    ## Fix safety

    Unsafe: the strength changes, to 1, at which the adapter was trained; give another one if that is wanted.
    If the file lost its alpha, the right compensation is alpha / rank, which is not reported. No fix for
    one of several strengths in a list.

    ## Limits

    `lora_alpha` is reported only if the same file uses the same value as a real alpha (beside a rank,
    or divided by one), because some programs call the strength so. Needs an import of the library in
    the file; calls of the project's own functions are not judged by name.

    ## References

    - diffusers `fuse_lora` and `set_adapters`, DiffSynth `load_lora`, PEFT `LoraLayer.scale_layer`
    - huggingface/diffusers pull request 6225: what to give when alpha was not saved
    """

    code = "LS501"
    name = "rank-given-as-strength"
    severity = "warning"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Each call whose multiplier is shown to be no multiplier."""
        for function in model.project.functions.values():
            if is_test_file(function.filename):
                continue
            for event in function.events("call"):
                for api, given in _multipliers(model, function, event.value):
                    reason = _wrong(model, function, given, api)
                    if reason is not None:
                        yield self._report(model, function, event, api, given, reason)

    def _report(
        self, model: Model, function: Function, event: Event, api: StrengthArgument, given: Term, reason: str
    ) -> Finding:
        text = source_text(given)
        return self.finding(
            model,
            function.filename,
            given.loc,
            f"`{api.call}` takes a plain multiplier and is given {reason}",
            event=event,
            effect=f"the delta is multiplied by `{text}` on top of its trained scale",
            trace=(
                (function.filename, event.loc, f"`{api.call}` of {api.library} multiplies by its argument"),
                (function.filename, given.loc, f"`{text}` is {reason}, not a strength"),
            ),
            fix=_repair(model, function, event.value, given),
        )


def _repair(model: Model, function: Function, call: Term, given: Term) -> Repair | None:
    if not isinstance(call, Call):
        return None
    arguments = (*call.args, *(value for _, value in call.keywords))
    index = next((place for place, argument in enumerate(arguments) if argument is given), None)
    return None if index is None else give_strength_of_one(model, function.filename, call, index)


def _multipliers(model: Model, function: Function, call: Term) -> Iterator[tuple[StrengthArgument, Term]]:
    """Library calls with a multiplier, and each multiplier given (a list may hold several)."""
    if not isinstance(call, Call) or not isinstance(call.func, Attr):
        return
    for api in MULTIPLIERS:
        if call.func.name != api.call or not _imports(model, function.filename, api.library):
            continue
        if model.project.callees(call.func, function, function.owner):
            continue
        named = next((value for key, value in call.keywords if key in api.keywords), None)
        given = named
        if given is None and api.position is not None:
            given = call.argument(api.position, "")
        for item in given.items if isinstance(given, Sequence) else (given,):
            if item is not None:
                yield api, item


def _imports(model: Model, filename: str, library: str) -> bool:
    """Does the file import the library, at the top or in a function?"""
    targets = model.project.files[filename].imports.values()
    if any(target.partition(".")[0] == library for target in targets):
        return True
    text = model.read_source(filename)
    return re.search(rb"(?m)^\s*(from|import) " + library.encode() + rb"\b", text) is not None


def _wrong(model: Model, function: Function, term: Term, api: StrengthArgument) -> str | None:
    """What ``term`` is instead of a strength, or None."""
    while isinstance(term, Call) and isinstance(term.func, Global) and term.func.name in ("float", "int"):
        if len(term.args) != 1:
            return None
        term = term.args[0]
    match term:
        case Op("/", Const(value=1 | 1.0), divisor) if _role(model, function, divisor) == RANK:
            return "1 / rank"
        case Op("**", base, _) if _role(model, function, base) == RANK:
            return "a power of the rank"
        case Const(value=int() | float() as value) if api.integers and not isinstance(value, bool):
            return f"{value:g}, an alpha" if looks_like_alpha(value) else None
        case Global() | Param() if api.integers and _role(model, function, term) is None:
            values = list(_constants(model, function, term))
            if values and all(looks_like_alpha(value) for value in values):
                return f"{values[0]:g}, an alpha"
            return None
        case _:
            role = _role(model, function, term)
            return {ALPHA: "an alpha", RANK: "a rank"}.get(role or "")


def _constants(model: Model, function: Function, term: Global | Param) -> Iterator[float]:
    """The numbers that a name is bound to; nothing if there is another way to set it."""
    found: list[Term | None] = []
    if isinstance(term, Param) and term.function == function.facts.qualname:
        parameter = function.parameter(term.name)
        for site in model.project.call_sites(function):
            given = bound_arguments(site.call, function).get(term.name)
            found.append(given if given is not None or parameter is None else parameter.default)
    elif isinstance(term, Global):
        top = model.project.functions.get(f"{function.module}.{MODULE}")
        if top is not None:
            found = [event.value for event in top.events("bind") if event.name == term.name]
    for value in found:
        number = value.value if isinstance(value, Const) else None
        yield float(number) if isinstance(number, int | float) else 0.0


def _role(model: Model, function: Function, term: Term) -> str | None:
    """Alpha or rank, if the file shows that ``term`` is one."""
    if not isinstance(term, Global | Param | Attr | Item):
        return None
    key = term.key if isinstance(term, Item) else None
    name = str(key.value) if isinstance(key, Const) else getattr(term, "name", "")
    text, strong = source_text(term), number_role(name, False)
    if strong == RANK:
        return RANK
    uses = {
        role
        for user, role, used in _real_uses(model, function.filename)
        if source_text(used) == text and _same_variable(term, function, used, user)
    }
    return uses.pop() if len(uses) == 1 else None


def _same_variable(term: Term, function: Function, used: Term, user: Function) -> bool:
    """Do equal texts mean one variable? A bare parameter is another one in another function."""
    if isinstance(term, Param):
        return isinstance(used, Param) and used.function == term.function
    if isinstance(term, Attr) and is_receiver(term.base, function):
        return isinstance(used, Attr) and is_receiver(used.base, user) and user.owner is function.owner
    return True


def _real_uses(model: Model, filename: str) -> Iterator[tuple[Function, str, Term]]:
    """Terms that the file uses as alpha beside a rank, or as the rank beside an alpha.

    Both are keywords of one call (`LoraConfig(r=..., lora_alpha=...)`), or alpha is divided by the rank.
    """
    for function in model.project.functions.values():
        if function.filename != filename:
            continue
        for event in function.facts.events:
            for term in walk(event.value):
                roles: dict[str | None, Term] = {}
                if isinstance(term, Call):
                    roles = {number_role(name, True): value for name, value in term.keywords}
                elif isinstance(term, Op) and term.sign == "/":
                    roles = {
                        number_role(getattr(side, "name", ""), True): side for side in (term.left, term.right)
                    }
                if ALPHA in roles and RANK in roles:
                    yield function, ALPHA, roles[ALPHA]
                    yield function, RANK, roles[RANK]
