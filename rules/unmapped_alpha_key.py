"""LS303: alpha's key loses its suffix before the names are mapped, so the mapping never matches it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.codemods.map_whole_key import map_whole_key
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Item,
    Mapping,
    Op,
    Sequence,
    Term,
    Text,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Loader, Model
from lorascale_lint.model.adapter_keys import KeyUse
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.vocabulary import key_role
from lorascale_lint.rule import Rule

_TRAILING_SEGMENT = (r"\.(.*)$", r"\.(.+)$", r"\.(.*)", r"\.(.+)")


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A regular expression of a name mapping that needs a segment after the module's name."""

    filename: str
    term: Term
    replacement: Term


class UnmappedAlphaKey(Rule):
    """Alpha key mapped without the suffix that the mapping needs

    ## What it finds

    A loader that maps `name.lora_A` and `name.lora_B` with their suffix through a function made from
    regular expressions, and alpha's name without it, where those expressions end in a further segment
    (`...to_q\\.(.*)$`): they match the factors and never alpha.

    ## Why it is wrong

    Alpha is stored under the old name, the factors under the new one. The lookup by the new name finds
    no alpha and takes the rank: the scale is 1 for every layer whose name is mapped.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    import re

    from safetensors.torch import load_file

    MAPPING = {
        r"^blocks\\.(\\d+)\\.attn1\\.to_q\\.(.*)$": r"blocks.\\1.to_q.\\2",
        r"^blocks\\.(\\d+)\\.attn1\\.to_k\\.(.*)$": r"blocks.\\1.to_k.\\2",
    }


    def get_mapping(table):
        def mapping_fn(name):
            for pattern, replacement in table.items():
                if re.match(pattern, name):
                    return re.sub(pattern, replacement, name)
            return name

        return mapping_fn


    def load_adapter(layers, path):
        adapter = {}
        mapping_fn = get_mapping(MAPPING)
        for name, weight in load_file(path).items():
            if "lora_alpha" in name:
                layer_name = mapping_fn(name.replace(".lora_alpha", ""))
                adapter[layer_name + ".lora_alpha"] = weight.item()
                continue
            adapter[mapping_fn(name)] = weight
        for name, layer in layers.items():
            alpha = adapter.get(name + ".lora_alpha")
            lora_A, lora_B = adapter[name + ".lora_A"], adapter[name + ".lora_B"]
            layer.weight.data += (alpha / lora_A.shape[0]) * (lora_B @ lora_A)
    ```

    ## Good

    ```python
    import re

    from safetensors.torch import load_file

    MAPPING = {
        r"^blocks\\.(\\d+)\\.attn1\\.to_q\\.(.*)$": r"blocks.\\1.to_q.\\2",
        r"^blocks\\.(\\d+)\\.attn1\\.to_k\\.(.*)$": r"blocks.\\1.to_k.\\2",
    }


    def get_mapping(table):
        def mapping_fn(name):
            for pattern, replacement in table.items():
                if re.match(pattern, name):
                    return re.sub(pattern, replacement, name)
            return name

        return mapping_fn


    def load_adapter(layers, path):
        adapter = {}
        mapping_fn = get_mapping(MAPPING)
        for name, weight in load_file(path).items():
            if "lora_alpha" in name:
                layer_name = mapping_fn(name)
                adapter[layer_name] = weight.item()
                continue
            adapter[mapping_fn(name)] = weight
        for name, layer in layers.items():
            alpha = adapter.get(name + ".lora_alpha")
            lora_A, lora_B = adapter[name + ".lora_A"], adapter[name + ".lora_B"]
            layer.weight.data += (alpha / lora_A.shape[0]) * (lora_B @ lora_A)
    ```

    ## Fix safety

    Safe: the key is mapped whole, as those of the factors are. Alpha is then found where it was not, and
    an alpha that equals the rank gives the scale of a missing one. Offered where every replacement ends in
    what the last group matched, so that the suffix survives.

    ## Limits

    Needs the regular expressions as literals in the project, at least two of them.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `set_lora_adapter` with Wan adapters under their original names
    """

    code = "LS303"
    name = "unmapped-alpha-key"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Alpha keys made from a name that was mapped without its suffix."""
        patterns: tuple[_Pattern, ...] | None = None
        for loader in model.loaders:
            for use in loader.traffic.uses:
                call = _stripped_mapping(use)
                if call is None or not _maps_whole_names(loader, call):
                    continue
                patterns = _patterns(model) if patterns is None else patterns
                if len(patterns) < 2:
                    continue
                filename = loader.function.filename
                yield self.finding(
                    model,
                    filename,
                    call.loc,
                    f"the name under `{use.pattern}` is mapped without its suffix, which the mapping needs",
                    event=use.event,
                    effect=effect_of(ONE) + ", for every mapped name",
                    trace=[
                        (
                            patterns[0].filename,
                            patterns[0].term.loc,
                            "the mapping matches names with one more segment",
                        ),
                        (filename, use.loc, "alpha is stored under a name that the mapping left as it was"),
                    ],
                    fix=_repair(model, loader, use, call, patterns),
                )


def _repair(
    model: Model, loader: Loader, use: KeyUse, mapping: Call, patterns: tuple[_Pattern, ...]
) -> Repair | None:
    strip = next((part for part in walk(mapping.args[0]) if _strips_alpha(part)), None)
    key = use.event.target.key if isinstance(use.event.target, Item) else None
    if not isinstance(strip, Call) or key is None or not all(_keeps_suffix(item) for item in patterns):
        return None
    known = {id(part) for part in walk(key)}
    others = (
        term
        for _, term in each_term(loader.function.facts.events)
        if isinstance(term, Op | Text) and id(term) not in known
    )
    if any(part is strip for term in others for part in walk(term)):
        return None  # the bare name is part of something else, too
    return map_whole_key(model, loader.function, strip, [key])


def _keeps_suffix(pattern: _Pattern) -> bool:
    """Does the replacement, or the name in a tuple of it and the place in a fused tensor, end in a group?"""
    replacement = pattern.replacement
    if isinstance(replacement, Sequence) and replacement.items:
        replacement = replacement.items[0]
    text = replacement.value if isinstance(replacement, Const) else None
    return isinstance(text, str) and re.search(r"\\(\d|g<\w+>)$", text) is not None


def _stripped_mapping(use: KeyUse) -> Call | None:
    """The innermost mapping call behind a written alpha key whose argument lost the alpha suffix."""
    key = use.event.target.key if isinstance(use.event.target, Item) else None
    if use.how != "write" or use.role != "alpha" or not isinstance(key, Op):
        return None
    found: Call | None = None
    for term in walk(key.left):
        if (
            isinstance(term, Call)
            and isinstance(term.func, Call)
            and term.args
            and _strips_alpha(term.args[0])
        ):
            found = term
    return found


def _strips_alpha(term: Term) -> bool:
    """Is there ``.replace(".lora_alpha", "")`` or the like in ``term``?"""
    return any(
        isinstance(part, Call)
        and isinstance(part.func, Attr)
        and part.func.name in ("replace", "removesuffix")
        and part.args
        and key_role(key_pattern(part.args[0])) == "alpha"
        and (len(part.args) == 1 or (isinstance(part.args[1], Const) and part.args[1].value == ""))
        for part in walk(term)
    )


def _maps_whole_names(loader: Loader, call: Call) -> bool:
    """Does the loader call the same mapping on names that keep their suffix?"""
    wanted = source_text(call.func)
    return any(
        isinstance(event.value, Call)
        and isinstance(event.value.func, Call)
        and event.value.args
        and source_text(event.value.func) == wanted
        and not _strips_alpha(event.value.args[0])
        for event in loader.function.events("call")
    )


def _patterns(model: Model) -> tuple[_Pattern, ...]:
    """Keys of literal dictionaries that are regular expressions ending in a further segment."""
    return tuple(
        _Pattern(function.filename, key, value)
        for function in model.project.functions.values()
        for event in function.facts.events
        for term in walk(event.value)
        if isinstance(term, Mapping)
        for key, value in term.pairs
        if isinstance(key, Const) and isinstance(key.value, str) and key.value.endswith(_TRAILING_SEGMENT)
    )
