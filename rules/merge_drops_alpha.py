"""LS310: factors are paired by key and merged, and the alpha keys of their format are left unread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Loc,
    Op,
    Param,
    Sequence,
    Term,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import (
    alpha_guard,
    lookup,
    matrix_products,
    multipliers,
    options,
    same_place,
)
from lorascale_lint.model.adapter_keys import KeyUse, key_traffic
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments, is_rescaling, is_test_file
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.vocabulary import key_side
from lorascale_lint.rule import Rule

_KOHYA = re.compile(r"lora_(down|up)(?![a-z])")
"""The factor names of kohya files, which carry an ``.alpha`` beside each pair."""
_QUOTES = "\"'"
_OTHER_SCALE = re.compile(r"(?i)scaling|rslora")
_READERS = frozenset("load_file load load_torch_file load_state_dict state_dict dict copy".split())


@dataclass(frozen=True, slots=True, eq=False)
class _Use:
    """A product of two looked-up factors: merged into a weight, or measured by its norm."""

    event: Event
    loc: Loc
    product: Term
    sources: tuple[Term, Term]
    measured: bool


class MergeDropsAlpha(Rule):
    """Merge of factors paired by key that never reads alpha

    ## What it finds

    A function that looks both factors of a module up in an adapter dictionary whose format carries
    alpha (`lora_down` and `lora_up` keys, or an `.alpha` key that the code skips on purpose), adds
    their product to a weight with at most a user's strength, and neither reads an alpha itself nor
    calls anything that does. The pairing and the merge may be two functions. Also code that clamps
    the norm of the bare product in such a dictionary.

    ## Why it is wrong

    The file states alpha for each module, training ran at alpha / rank, and the merge uses 1. A user
    strength can't repair that: it is one number for modules whose alpha / rank may differ.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    import torch
    from safetensors.torch import load_file


    def merge_lora(model, path, multiplier=1.0):
        lora_sd = load_file(path)
        layers = dict(model.named_modules())
        for key in lora_sd:
            if "lora_down" not in key:
                continue
            down = lora_sd[key].float()
            up = lora_sd[key.replace("lora_down", "lora_up")].float()
            layer = layers[key.split(".")[0]]
            layer.weight.data += multiplier * torch.mm(up, down)
    ```

    ## Good

    ```python
    import torch
    from safetensors.torch import load_file


    def merge_lora(model, path, multiplier=1.0):
        lora_sd = load_file(path)
        layers = dict(model.named_modules())
        for key in lora_sd:
            if "lora_down" not in key:
                continue
            down = lora_sd[key].float()
            up = lora_sd[key.replace("lora_down", "lora_up")].float()
            name = key.split(".")[0]
            rank = down.shape[0]
            alpha = float(lora_sd.get(name + ".alpha", rank))
            layers[name].weight.data += multiplier * alpha / rank * torch.mm(up, down)
    ```

    ## Fix safety

    No fix: how the alpha key follows from the factor's key is the format's business. Look alpha up
    beside each pair, take the rank of that pair where it is missing, and multiply by alpha / rank.

    ## Limits

    Silent for names without an alpha in their format (`lora_A` / `lora_B` alone), where anything that
    the function calls or is called by mentions an alpha key, and where the product meets any factor
    that is not a plain parameter. Setters of layers that are given no alpha are LS301's.

    ## References

    - diffusers `scripts/convert_lora_safetensor_to_diffusers.py` skips `.alpha` and merges
    - DiffSynth-Studio commit 237d1787: the general loader folds alpha / rank into the factors
    """

    code = "LS310"
    name = "merge-drops-alpha"

    def check(self, model: Model) -> Iterator[Finding]:
        """Merges of looked-up factors around which no alpha is read."""
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for use in _uses(function):
                nearby = _nearby(model.project, function)
                known = _known_format(nearby)
                if known is None or _mentions_alpha(model.project, nearby, use, function):
                    continue
                if not _comes_from_file(model, function, use):
                    continue
                verb = "measured by their norm" if use.measured else "merged"
                yield self.finding(
                    model,
                    function.filename,
                    use.loc,
                    f"factors of an adapter file are {verb} in `{function.facts.name}` without their alpha",
                    event=use.event,
                    effect=effect_of(ONE),
                    trace=_steps(function, use, known),
                )


def _uses(function: Function) -> Iterator[_Use]:
    """Sums and norms of a product of two factors that were looked up in one dictionary."""
    events = tuple(function.events("write", "bind", "call", "return"))
    every = Sequence(tuple(event.value for event in events))
    if not any(_sources(left, right) for _, left, right in matrix_products(every)):
        return
    seen: set[Loc] = set()
    for event in events:
        for product, left, right in matrix_products(event.value):
            if product.loc in seen:
                continue
            sources = _sources(left, right)
            if sources is None:
                continue
            loc = _merged_at(event, product)
            measured = loc is None and _clamped(function, event, product, sources)
            if loc is not None or measured:
                seen.add(product.loc)
                yield _Use(event, loc or product.loc, product, sources, measured)


def _sources(left: Term, right: Term) -> tuple[Term, Term] | None:
    """The lookups that ``up @ down`` multiplies; None unless both are in one dictionary, by other keys."""
    for first in options(left):
        for second in options(right):
            found, other = lookup(first), lookup(second)
            if found is None or other is None or not same_place(found[0], other[0]):
                continue
            roles = [_role(found[1]), _role(other[1])]
            if found[1] is not other[1] and "other" not in roles and roles not in (["A", "A"], ["B", "B"]):
                return first, second
    return None


def _role(key: Term) -> str:
    """``A`` or ``B`` by a literal part of the key, ``any`` if it has none, ``other`` for other literals."""
    pattern = key_pattern(key)
    return key_side(pattern) or ("other" if pattern.strip("*.") else "any")


def _merged_at(event: Event, product: Term) -> Loc | None:
    """Where ``product`` is added to something else, with nothing but strengths on it."""
    if event.kind == "write" and event.sign in ("+", "-"):
        return event.loc if _is_plain(multipliers(event.value, product)) else None
    for term in walk(event.value):
        match term:
            case Op(sign=("+" | "-"), left=left, right=right):
                for base, delta in ((left, right), (right, left)):
                    if not any(part is product for part in walk(base)) and _is_plain(
                        multipliers(delta, product)
                    ):
                        return term.loc
            case _:
                pass
    return None


def _is_plain(found: tuple[Term, ...] | None) -> bool:
    """Is everything that multiplies the product a number or a parameter as it came?"""
    return found is not None and all(isinstance(term, Const | Param) for term in found)


def _clamped(function: Function, event: Event, product: Term, sources: tuple[Term, Term]) -> bool:
    """Is the norm of ``product`` taken, and its dictionary rescaled in place afterwards?"""
    normed = any(
        isinstance(term, Call)
        and isinstance(term.func, Attr)
        and term.func.name in ("norm", "vector_norm", "matrix_norm")
        and any(multipliers(part, product) == () for part in (term.func.base, *term.args))
        for other in function.facts.events
        for term in walk(other.value)
    )
    container = lookup(sources[0])
    return normed and any(
        write.sign == "*"
        and isinstance(write.target, Item)
        and container is not None
        and same_place(write.target.base, container[0])
        for write in function.events("write")
        if write.row > event.row
    )


def _nearby(project: Project, function: Function) -> tuple[Function, ...]:
    """The function, what it calls, and the functions that call it."""
    found = dict.fromkeys(project.reachable(function, 3))
    for _ in range(2):
        for known in tuple(found):
            if known is function or function in project.reachable(known, 2):
                found.update((site.caller, None) for site in project.call_sites(known))
    return tuple(found)


def _known_format(nearby: tuple[Function, ...]) -> tuple[Function, Loc, str] | None:
    """Where code shows that its format has alpha keys: kohya's factor names, or a skipped alpha."""
    for function in nearby:
        for use in key_traffic(function).uses:
            if use.role == "alpha" and use.how == "test":
                return function, use.loc, f"`{use.pattern}` keys are known here, and skipped"
        for event in function.facts.events:
            for term in walk(event.value):
                if isinstance(term, Const) and isinstance(term.value, str) and _KOHYA.search(term.value):
                    return function, term.loc, f"`{term.value}` is a name of files with an alpha per module"
    return None


def _mentions_alpha(project: Project, nearby: tuple[Function, ...], use: _Use, function: Function) -> bool:
    """Does anything nearby handle an alpha, other than skipping its keys?"""
    strengths = {part.name for part in _strengths(use) if isinstance(part, Param)}
    skipped = {test.pattern for near in nearby for test in _skipped_alphas(near)}
    own = project.reachable(function, 3)
    for near in nearby:
        for word in near.facts.words:
            literal = word[-1:] in _QUOTES or word.startswith(".")
            if near not in own and not literal:
                continue  # a caller's variable may be a strength, whatever its name
            if _OTHER_SCALE.search(word):
                return True
            if "alpha" in word.lower() and " " not in word and word.strip(_QUOTES) not in skipped | strengths:
                return True
    if not use.measured and any(map(_rescales, nearby)):
        return True
    return any(
        _is_computed(bound_arguments(site.call, function).get(name))
        for site in project.call_sites(function)
        for name in strengths
    )


def _rescales(function: Function) -> bool:
    """Does the function multiply a tensor of some dictionary: a possible fold?"""
    return any(
        isinstance(event.target, Item) and (event.sign in ("*", "/") or is_rescaling(event.value))
        for event in function.events("write")
    )


def _strengths(use: _Use) -> tuple[Term, ...]:
    """The strengths on the product of a merge."""
    for term in walk(use.event.value):
        found = multipliers(term, use.product)
        if found:
            return found
    return ()


def _is_computed(argument: Term | None) -> bool:
    """May a caller's argument hold alpha / rank?"""
    return argument is not None and any(isinstance(term, Op | Call | Item) for term in walk(argument))


def _skipped_alphas(function: Function) -> Iterator[KeyUse]:
    """Tests for an alpha key in a function that does nothing where they hold."""
    uses = [use for use in key_traffic(function).uses if use.role == "alpha"]
    if any(use.how != "test" for use in uses):
        return
    acts = any(
        alpha_guard(event.guards) is not None
        for event in function.facts.events
        if event.kind in ("write", "bind", "return")
    )
    if not acts:
        yield from uses


def _comes_from_file(model: Model, function: Function, use: _Use) -> bool:
    """Are the factors from a parameter, a file, or a project function: from nothing that is not seen?"""
    found = lookup(use.sources[0])
    if found is None:
        return False
    for container in options(found[0]):
        match container:
            case Param():
                pass
            case Call(func=Attr(name=name) | Global(name=name)):
                if name not in _READERS and not model.project.callees(container.func, function, None):
                    return False
            case _:
                return False
    return True


def _steps(function: Function, use: _Use, known: tuple[Function, Loc, str]) -> Iterator[tuple[str, Loc, str]]:
    yield known[0].filename, known[1], known[2]
    for source in use.sources:
        yield function.filename, source.loc, "a factor is looked up by its key"
    yield function.filename, use.product.loc, "the product of both has no scale, and no alpha is read nearby"
