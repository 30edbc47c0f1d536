"""LS302: a converter knows the alpha key of its source format and writes the factors without it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.fold_alpha import fold_alpha
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Call, Item, Loc, Mapping, Sequence, Term, walk
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_keys import KeyTraffic, key_traffic
from lorascale_lint.model.conversions import Conversion, Renamed, conversion
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.unused_alpha import UnusedAlpha
from lorascale_lint.model.values import Value, folded_scale
from lorascale_lint.model.vocabulary import key_role
from lorascale_lint.rule import Rule

_KOHYA = re.compile(r"lora_(?:down|up)(?![a-z])")
"""The factor names of kohya files, which carry an ``.alpha`` beside each pair."""
_CONVERTS = re.compile(r"(?i)convert|_to_|^to_|renam|remap|translat")


class ConverterDropsAlpha(Rule):
    """Converter that parses alpha and writes the factors without it

    ## What it finds

    A function that writes or renames both factors, from a source whose alpha key it (or the key parser
    it calls) recognises, skips or throws away, or whose names are those of files with alphas, and that
    neither writes an alpha nor multiplies it into a factor.

    ## Why it is wrong

    The file that comes out has no alpha, so every reader takes alpha = rank: the scale becomes 1.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128 (LongCat).

    ## Bad

    ```python
    from safetensors.torch import load_file, save_file


    def convert_kohya_to_peft(path, out):
        kohya = load_file(path)
        converted = {}
        for key in kohya:
            if not key.endswith(".lora_down.weight"):
                continue
            name = key.removesuffix(".lora_down.weight")
            converted[f"base_model.model.{name}.lora_A.weight"] = kohya[key]
            converted[f"base_model.model.{name}.lora_B.weight"] = kohya[name + ".lora_up.weight"]
        save_file(converted, out)
    ```

    ## Good

    ```python
    from safetensors.torch import load_file, save_file


    def convert_kohya_to_peft(path, out):
        kohya = load_file(path)
        converted = {}
        for key in kohya:
            if not key.endswith(".lora_down.weight"):
                continue
            name = key.removesuffix(".lora_down.weight")
            rank = kohya[key].shape[0]
            scale = float(kohya.get(key.split(".lora_")[0] + ".alpha", rank)) / rank
            converted[f"base_model.model.{name}.lora_A.weight"] = kohya[key] * scale
            converted[f"base_model.model.{name}.lora_B.weight"] = kohya[name + ".lora_up.weight"]
        save_file(converted, out)
    ```

    ## Fix safety

    Safe: an alpha that equals the rank gives scale 1, and so does a missing one. alpha / rank goes into one
    factor, which is right for every reader: what it expects under which name is not in the code. No fix
    where the source's keys are parsed, popped or deleted. Write one alpha for each module that is written
    there, under the name that the reader knows, times n where n blocks are fused.

    ## Limits

    Silent if the dictionary also takes keys that are not literal (they may be the alphas), and if a
    factor is multiplied by anything on its way.

    ## References

    - FastVideo's first `scripts/checkpoint_conversion/longcat_to_fastvideo.py`
    - diffusers `scripts/convert_lora_safetensor_to_diffusers.py` skips `.alpha` keys
    """

    code = "LS302"
    name = "converter-drops-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Functions that write or rename both factors and carry no alpha over."""
        reported: set[Function] = set()
        for function, finding in self._writers(model):
            reported.add(function)
            yield finding
        callers = (site.caller for near in model.functions for site in model.project.call_sites(near))
        for function in dict.fromkeys((*model.functions, *callers)):
            if function not in reported and not is_test_file(function.filename):
                found = conversion(model.project, function)
                if found is not None:
                    yield from self._renamers(model, found)

    def _renamers(self, model: Model, found: Conversion) -> Iterator[Finding]:
        """Tensors that go from one dictionary to another under new names, without their alpha."""
        function = found.function
        project = model.project
        nearby = dict.fromkeys(project.reachable(function, 3))
        for _ in range(2):
            sites = (site for known in tuple(nearby) for site in project.call_sites(known))
            nearby.update((site.caller, None) for site in sites)
        unused = UnusedAlpha(project, nearby)
        skipped = next(unused.skipped(), None)
        kohya = next((text for text in found.source_names if _KOHYA.search(text)), None)
        if (skipped is None and kohya is None) or unused.is_used:
            return
        first = found.renamed[0]
        trace: list[tuple[str, Loc, str]] = []
        if skipped is not None:
            text = f"`{skipped.text}` keys are known here, and skipped"
            trace.append((skipped.function.filename, skipped.loc, text))
        else:
            text = f"`{kohya}` is a name of files with an alpha per module"
            trace.append((function.filename, first.loc, text))
        trace += [
            (function.filename, item.loc, f"{_named(item)} is written under a new key as it is")
            for item in found.renamed[:4]
        ]
        seen = _CONVERTS.search(function.facts.name) or any(key_traffic(f).files_read for f in nearby)
        yield self.finding(
            model,
            function.filename,
            first.loc,
            f"`{function.facts.name}` renames both factors and drops the alpha that its source has",
            event=first.event,
            effect=effect_of(ONE),
            trace=trace,
            confidence="high" if seen else "medium",
            fix=_repair(model, found),
        )

    def _writers(self, model: Model) -> Iterator[tuple[Function, Finding]]:
        """Functions that write both factors under literal keys and know an alpha key."""
        for traffic in model.key_traffic:
            if not {"A", "B"} <= traffic.roles("write") or "alpha" in traffic.roles("write"):
                continue
            nearby = model.project.reachable(traffic.function, 2)
            parsed = [use for function in nearby for use in _parsed_alpha_keys(function)]
            if not parsed or any(map(_writes_alpha, nearby)) or _may_carry_alpha(model, traffic):
                continue
            written = [use for use in traffic.uses if use.how == "write"]
            first = next(use for use in written if use.role == "A")
            function = traffic.function
            trace: list[tuple[str, Loc, str]] = [
                (parser.filename, loc, f"`{parser.facts.name}` knows the key `{key}`")
                for parser, loc, key in parsed[:2]
            ]
            trace += [
                (function.filename, use.loc, f"factor {use.role} is written as it is") for use in written
            ]
            message = f"`{function.facts.name}` writes both factors and drops the alpha that its source has"
            effect = effect_of(ONE)
            where = function.filename, first.loc
            yield (
                function,
                self.finding(model, *where, message, event=first.event, effect=effect, trace=trace),
            )


def _repair(model: Model, found: Conversion) -> Repair | None:
    """The fold into factor A, or into what every tensor is written by."""
    written = [item for item in found.renamed if item.factor is None or item.factor.side == "A"]
    if len(written) != 1 or written[0].event.kind != "write":
        return None
    return fold_alpha(model, found.function, written[0].event)


def _named(item: Renamed) -> str:
    return "every other tensor" if item.factor is None else f"factor {item.factor.side}"


def _parsed_alpha_keys(function: Function) -> Iterator[tuple[Function, Loc, str]]:
    """Alpha keys that the function tests for, or lists beside the keys of the factors."""
    for use in key_traffic(function).uses:
        if use.how == "test" and use.role == "alpha":
            yield function, use.loc, use.pattern
    for event in function.facts.events:
        for term in walk(event.value):
            if isinstance(term, Sequence):
                roles = {key_role(key_pattern(item)): item for item in term.items}
                if {"A", "B", "alpha"} <= set(roles):
                    yield function, roles["alpha"].loc, key_pattern(roles["alpha"])


def _writes_alpha(function: Function) -> bool:
    """Does the function put an alpha anywhere: under a key, in a mapping, as an argument or attribute?"""
    for event in function.facts.events:
        target = event.target
        if isinstance(target, Attr) and "alpha" in target.name:
            return True
        if isinstance(target, Item) and "alpha" in key_pattern(target.key):
            return True
        for term in walk(event.value):
            if isinstance(term, Call) and any("alpha" in name for name, _ in term.keywords):
                return True
            if isinstance(term, Mapping) and any("alpha" in key_pattern(key) for key, _ in term.pairs):
                return True
    return False


def _may_carry_alpha(model: Model, traffic: KeyTraffic) -> bool:
    """Is a factor scaled on its way, or may a key that is not literal be an alpha's?"""
    frame = model.evaluator.frame(traffic.function)
    containers = {_container(use.container) for use in traffic.uses if use.how == "write"}
    for event in traffic.function.events("write"):
        if not isinstance(event.target, Item) or _container(event.target.base) not in containers:
            continue
        if event.sign or not key_pattern(event.target.key).strip("*"):
            return True
        if any(not _is_bare(a.value) for a in model.evaluator.values(event.value, frame)):
            return True
    return False


def _container(term: Term | None) -> int:
    """The dictionary of a write; joins of branches make new terms for one variable, its place stays."""
    return hash(term.loc) if term is not None else 0


def _is_bare(value: Value) -> bool:
    return folded_scale(value) == ONE
