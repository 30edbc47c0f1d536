"""LS310: looked-up factors are merged or applied, and the alpha of their format is left unread."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.fold_alpha import fold_alpha
from lorascale_lint.codemods.read_alpha_beside import read_alpha_beside
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Call, Const, Item, Loc, Op, Param, Term, each_term, walk
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.fixing.repair import first_of
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_formats import loaded_configuration, scaled_layer
from lorascale_lint.model.dictionary_merges import DictionaryMerge, DictionaryMerges
from lorascale_lint.model.filled_containers import constants_of
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments, is_rescaling, is_test_file
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.unused_alpha import UnusedAlpha
from lorascale_lint.model.vocabulary import key_side
from lorascale_lint.rule import Rule

_KOHYA = re.compile(r"lora_(?:\((?:\?(?:P<\w+>|:))?)?(?:down|up)(?![a-z])")
"""The factor names of kohya files, which carry an ``.alpha`` beside each pair."""
_PEFT = re.compile(r"adapter_config\.json|adapter_model\.(?:safetensors|bin)|base_model\.(?:model\.|$)")
"""File names and key prefixes of PEFT, whose adapters state ``lora_alpha`` in ``adapter_config.json``."""
_USER_STRENGTH = re.compile(r"(?i)(?:\w+_)?(?:strengths?|multipliers?|ratios?|weights?|coeff?\w*)")


class MergeDropsAlpha(Rule):
    """Merge of factors paired by key that never reads alpha

    ## What it finds

    Code that looks both factors of a module up by their keys, adds their product to a weight or an
    output with at most a user's strength, and uses no alpha on that way, although there is one: the
    format carries it (`lora_down` and `lora_up` keys, PEFT's `adapter_model.safetensors` beside its
    `adapter_config.json`, an `.alpha` key that the code skips), the layer of the project whose
    attributes the keys name scales by it, or the code has it at hand, as a parameter, a field of a
    configuration or a configuration loaded beside the tensors, and at most prints it. The factors may
    pass through loops, local tables, shards, lists and helpers. Also code that clamps the norm of the
    bare product.

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
            rank = down.shape[0]
            scale = float(lora_sd.get(key.split(".lora_down")[0] + ".alpha", rank)) / rank
            up = lora_sd[key.replace("lora_down", "lora_up")].float()
            layer = layers[key.split(".")[0]]
            layer.weight.data += multiplier * torch.mm(up, down) * scale
    ```

    ## Fix safety

    Safe: an alpha that equals the rank gives scale 1, and so does a missing one. Offered for keys with
    `lora_down`, beside which alpha stands, where one function reads the factors from a dictionary that
    nothing filtered or renamed, and adds their product; or where one function renames them for it, which
    then folds alpha / rank into one factor. Elsewhere look alpha up beside each pair, keep it
    through every renaming, take the rank of that pair where it is missing, and multiply by alpha / rank.

    ## Limits

    Silent for names without an alpha in their format (`lora_A` / `lora_B` alone) unless every layer of
    the project that keeps both names is seen to scale; where anything that
    the function calls or is called by uses an alpha or a scaling, and where the product meets any
    factor that is not a plain number, parameter or strength. Setters of layers that are given no
    alpha are LS301's.

    ## References

    - diffusers `scripts/convert_lora_safetensor_to_diffusers.py` skips `.alpha` and merges
    - DiffSynth-Studio commit 237d1787: the general loader folds alpha / rank into the factors
    """

    code = "LS310"
    name = "merge-drops-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Merges of looked-up factors around which no alpha is used."""
        merges = DictionaryMerges(model.project)
        callers = (site.caller for near in model.functions for site in model.project.call_sites(near))
        for function in dict.fromkeys((*model.functions, *callers)):
            if is_test_file(function.filename):
                continue
            for merge in merges.in_function(function):
                yield from self._judged(model, merge, "merged")
            for merge in merges.clamped_in_function(function):
                yield from self._judged(model, merge, "measured by their norm")

    def _judged(self, model: Model, merge: DictionaryMerge, verb: str) -> Iterator[Finding]:
        delta, function = merge.delta, merge.function
        strengths = {term.name for term, _ in delta.multipliers if isinstance(term, Param)}
        nearby = _nearby(model.project, merge)
        unused = UnusedAlpha(model.project, nearby, strengths)
        way = _on_the_way(model.project, merge)
        known = _known_alpha(model.project, UnusedAlpha(model.project, way, strengths), merge) or _formatted(
            model, merge, way
        )
        if known is None or unused.is_used or _has_computed_strength(model.project, merge, known[3]):
            return
        if verb == "merged" and any(map(_rescales, nearby)):
            return
        if verb == "merged" and delta.on_activation:
            verb = "applied"
        yield self.finding(
            model,
            function.filename,
            merge.loc,
            f"factors of an adapter file are {verb} in `{function.facts.name}` without their alpha",
            event=merge.event,
            effect=effect_of(ONE),
            trace=_steps(merge, known),
            fix=first_of(
                read_alpha_beside(model, merge, measured=verb == "measured by their norm"),
                _fold_where_renamed(model, merge),
            ),
        )


def _fold_where_renamed(model: Model, merge: DictionaryMerge) -> Repair | None:
    """The fold into factor A in the function that made the dictionary of the factors from the file's."""
    container, place = merge.delta.down.container, merge.delta.down.place
    if not isinstance(container, Call) or container is not merge.delta.up.container:
        return None
    callees = model.project.callees(container.func, place.function, place.function.owner)
    makers = [item for item in callees if isinstance(item, Function)]
    if len(makers) != 1 or len(callees) != 1:
        return None
    written = [
        event
        for event in makers[0].events("write")
        if isinstance(event.target, Item) and key_side(key_pattern(event.target.key)) == "A"
    ]
    return fold_alpha(model, makers[0], written[0]) if len(written) == 1 else None


_Known = tuple[Function, Loc, str, bool]
"""Where code shows that there is an alpha, in words, and whether it is one for each module."""


def _nearby(project: Project, merge: DictionaryMerge) -> tuple[Function, ...]:
    """The functions that the factors pass through, what they call, and the functions that call them."""
    function = merge.function
    own = dict.fromkeys((function, *merge.delta.functions))
    for owner in [item.owner for item in own if item.owner is not None]:
        for ancestor in project.ancestors(owner):
            own.update((method, None) for method in project.methods(ancestor))
    found = {reached: None for item in own for reached in project.reachable(item, 3)}
    for _ in range(2):
        for known in tuple(found):
            if known in own or function in project.reachable(known, 2):
                found.update((site.caller, None) for site in project.call_sites(known))
    return tuple(found)


def _on_the_way(project: Project, merge: DictionaryMerge) -> tuple[Function, ...]:
    """The functions that the factors pass through, what the merge calls, and who calls it."""
    found = dict.fromkeys((*project.reachable(merge.function, 2), *merge.delta.functions))
    callers = [site.caller for site in project.call_sites(merge.function)]
    callers += [site.caller for caller in callers for site in project.call_sites(caller)]
    found.update(dict.fromkeys(callers))
    return tuple(found)


def _known_alpha(project: Project, unused: UnusedAlpha, merge: DictionaryMerge) -> _Known | None:
    """Where code shows that there is an alpha: it skips or has it, or the names of its format say so."""
    skipped = next(unused.skipped(), None)
    if skipped is not None:
        return skipped.function, skipped.loc, f"`{skipped.text}` keys are known here, and skipped", True
    named: list[_Known] = []
    for function in unused.functions:
        for _, term in each_term((*function.facts.events, *constants_of(project, function))):
            if not isinstance(term, Const) or not isinstance(term.value, str):
                continue
            if _KOHYA.search(term.value):
                text = f"`{term.value}` is a name of files with an alpha per module"
                return function, term.loc, text, True
            found = _PEFT.search(term.value)
            if found is not None:
                text = f"`{found[0]}` belongs to PEFT, which states `lora_alpha` in `adapter_config.json`"
                named.append((function, term.loc, text, False))
    for factor in (merge.delta.up, merge.delta.down):
        if _KOHYA.search(factor.shown):
            text = f"`{factor.shown}` is a name of files with an alpha per module"
            return factor.place.function, factor.loc, text, True
        if _PEFT.search(factor.shown):
            text = f"`{factor.shown}` is a key of PEFT, which states `lora_alpha` in `adapter_config.json`"
            named.append((factor.place.function, factor.loc, text, False))
    at_hand = next(unused.at_hand(), None)
    if at_hand is not None:
        return at_hand.function, at_hand.loc, f"`{at_hand.text}` is at hand here, and not used", False
    return named[0] if named else None


def _formatted(model: Model, merge: DictionaryMerge, way: tuple[Function, ...]) -> _Known | None:
    """The layer of the project that the factors belong to, or the configuration loaded beside them."""
    layer = scaled_layer(model.evaluator, merge)
    if layer is not None:
        text = (
            f"`{layer.cls.name}` keeps `{layer.names[0]}` and `{layer.names[1]}`, and scales their delta here"
        )
        return layer.function, layer.loc, text, False
    loading = tuple(dict.fromkeys(near for item in way for near in model.project.reachable(item, 1)))
    loaded = loaded_configuration(merge, loading)
    if loaded is None or UnusedAlpha(model.project, loading).is_used:
        return None
    return *loaded, "the adapter's configuration, which states `alpha`, is loaded beside its tensors", False


def _has_computed_strength(project: Project, merge: DictionaryMerge, per_module: bool) -> bool:
    """May the trained scale be in a strength that a caller computes?"""
    for term, place in merge.delta.multipliers:
        if not isinstance(term, Param) or place.arguments:
            continue
        sites = project.call_sites(place.function)
        given = [bound_arguments(site.call, place.function).get(term.name) for site in sites]
        if any(map(_is_computed, given)):
            return True
        if not per_module and not given and not _USER_STRENGTH.fullmatch(term.name):
            return True  # alpha / rank of the whole adapter may come in by it
    return False


def _rescales(function: Function) -> bool:
    """Does the function multiply a tensor of some dictionary: a possible fold?"""
    return any(
        isinstance(event.target, Item)
        and (event.sign in ("*", "/") or (not event.sign and is_rescaling(event.value)))
        for event in function.events("write")
    )


def _is_computed(argument: Term | None) -> bool:
    """May a caller's argument hold alpha / rank?"""
    return argument is not None and any(isinstance(term, Op | Call | Item) for term in walk(argument))


def _steps(merge: DictionaryMerge, known: _Known) -> Iterator[tuple[str, Loc, str]]:
    delta = merge.delta
    yield known[0].filename, known[1], known[2]
    for side, factor in (("A", delta.down), ("B", delta.up)):
        name = f"factor {side}" if factor.shown else "a factor"
        how = f"as `{factor.shown}`" if factor.shown.strip("*") else "by its key"
        yield factor.place.function.filename, factor.loc, f"{name} is looked up {how}"
    yield delta.function.filename, delta.loc, "the product of both has no scale, and no alpha is used nearby"
    if merge.loc != delta.loc:
        yield merge.function.filename, merge.loc, "and is added to its base"
