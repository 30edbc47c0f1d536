"""LS310: looked-up factors are merged or applied, and the alpha of their format is left unread."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.fixing.repair import first_of
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.entries import Apply, Norm
from lorascale_lint.ledger.fates import Fate, fates, may_hold_scale
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.refusals import refuses_other_alphas
from lorascale_lint.ledger.stated_alphas import Stated, stated_alpha
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


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
    factor that is not a plain number, parameter or strength. Of medium confidence where the product meets
    a number other than 1, which may be alpha / rank spelled out, and the file has no alpha for each module.
    Setters of layers that are given no alpha are LS301's.

    ## References

    - diffusers `scripts/convert_lora_safetensor_to_diffusers.py` skips `.alpha` and merges
    - DiffSynth-Studio commit 237d1787: the general loader folds alpha / rank into the factors
    """

    code = "LS310"
    name = "merge-drops-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions tried on a file whose factors meet their base, or are measured, without an alpha."""
        found = fates(ledger)
        called = {a.spot.node for fate in found for a in fate.applies if a.spot.chain}
        # What a caller with the file in its hands gives is known better than an argument of nobody's.
        told = [
            (fate, a) for fate in found for a in fate.applies if a.spot.chain or a.spot.node not in called
        ]
        used = {a.spot.node for fate, a in told if not fate.drops_alpha(a)}
        scaling = [fate for fate in found if fate.alpha_of_settings_goes_on or fate.is_rescaled]
        scaled = {way for fate in scaling for way in fate.handed if way[0] is not fate.trial.function}
        seen: set[object] = set()
        for fate in found:
            for place in _places(fate):
                ways = {way for way in fate.handed if way[0] is place.spot.function}
                elsewhere = isinstance(place, Apply) and ways & scaled
                if place.spot.node in used | seen or elsewhere or not fate.drops_alpha(place):
                    continue
                if refuses_other_alphas(ledger, place.spot.file):
                    continue
                stated = stated_alpha(ledger, fate, found)
                known = place.spot.node in called or not may_hold_scale(place)
                if stated is not None and (stated.per_module or known):
                    seen.add(place.spot.node)
                    yield self._bare(ledger, found, fate, place, stated)

    def _bare(
        self, ledger: Ledger, found: list[Fate], fate: Fate, place: Apply | Norm, stated: Stated
    ) -> Finding:
        verb = "measured by their norm"
        weighted = isinstance(place, Apply) and place.scale.coefficient != 1
        if isinstance(place, Apply):
            verb = "applied" if place.kind == "forward" else "merged"
        pair = fate.trial.sample.pair
        renamed = next(iter(fate.tables), None)
        from lorascale_lint.codemods.fold_alpha import fold_alpha
        from lorascale_lint.codemods.read_alpha_beside import read_alpha_beside

        return self.at(
            place.spot,
            f"factors of an adapter file are {verb} in `{place.spot.name}` without their alpha",
            confidence="medium" if weighted and not stated.per_module else "high",
            effect=effect_of(ONE),
            trace=[
                (stated.spot, stated.text),
                *((spot, f"factor {side} is looked up as `{key}`") for side, spot, key in fate.looked_up),
                (place.spot, f"no alpha is used between the `{pair.down}` of the file and this"),
            ],
            fix=first_of(
                read_alpha_beside(ledger, found, fate, place),
                None if renamed is None else fold_alpha(ledger, fate.trial, renamed.down),
            ),
        )


def _places(fate: Fate) -> list[Apply | Norm]:
    """Where the factors of the trial meet a base, and where a norm is taken of their product."""
    return [*fate.applies, *fate.measured]
