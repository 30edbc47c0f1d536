"""LS302: a converter knows the alpha key of its source format and writes the factors without it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.fates import Fate, Output, fates
from lorascale_lint.ledger.given_alphas import gives_own_alpha
from lorascale_lint.ledger.key_words import alpha_words
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.read_beside import alpha_is_read_beside
from lorascale_lint.ledger.settings_written import is_in_settings
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


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

    The function is tried on a file with the keys of the conventions that its code names. Silent if the
    alpha of that file reaches more than a message, if any alpha is written beside the factors, if a caller
    uses it, if a factor is multiplied by anything on its way, and if the alpha of the source's settings is
    written into settings.

    ## References

    - FastVideo's first `scripts/checkpoint_conversion/longcat_to_fastvideo.py`
    - diffusers `scripts/convert_lora_safetensor_to_diffusers.py` skips `.alpha` keys
    """

    code = "LS302"
    name = "converter-drops-alpha"
    fix = "sometimes"
    yields_to = ("LS312",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions tried on a file which give its factors new names, and nobody its alpha."""
        found = fates(ledger)
        right = [output.down.spot for fate in found if fate.alpha_goes_on for output in fate.outputs]
        kept, helpers = {_place(spot) for spot in right}, {spot.node for spot in right}
        seen: set[object] = set()
        for fate in found:
            known = next(alpha_words(fate), None)
            for output in fate.outputs:
                place = output.down.spot
                if fate.alpha_goes_on or not fate.is_made_new(output) or _place(place) in kept:
                    continue
                if alpha_is_read_beside(ledger, place.function) or is_in_settings(ledger, fate, output):
                    continue
                if place.node in helpers:  # right where other code calls it
                    if not place.chain:
                        continue
                    place = _caller(fate, place)
                if place.node in seen:
                    continue
                argument = fate.needs_caller(output)
                if fate.states_alpha(output) and (
                    argument is None or gives_own_alpha(ledger, fate, argument)
                ):
                    continue  # of another spelling than the one that was tried
                if known is not None or fate.trial.sample.states_alpha:
                    seen.add(place.node)
                    yield self._lost(ledger, fate, output, place, known, argument)

    def _lost(
        self,
        ledger: Ledger,
        fate: Fate,
        output: Output,
        place: Spot,
        known: tuple[Spot, str] | None,
        argument: str | None,
    ) -> Finding:
        pair, passed = fate.trial.sample.pair, fate.skipped(fate.trial.sample.alpha_key)
        first = (place, f"`{pair.down}` is a name of files with an alpha per module")
        if known is not None:
            first = (known[0], f"`{known[0].name}` knows the key `{known[1]}`")
        unless = "" if argument is None else f", unless `{argument}` is given"
        sure = argument is None and (known is not None or not fate.trial.parameter)
        written = dict.fromkeys((output.down.spot, output.up.spot))
        from lorascale_lint.codemods.fold_alpha import fold_alpha

        return self.at(
            place,
            f"`{place.name}` {output.told} and drops the alpha that its source has{unless}",
            confidence="high" if sure else "medium",
            effect=effect_of(ONE),
            trace=[
                first,
                *([(passed, "here alpha is passed over")] if passed else []),
                *((spot, "a factor is written under its key, as it is") for spot in written),
            ],
            fix=fold_alpha(ledger, fate.trial, output.down) if argument is None else None,
        )


def _place(spot: Spot) -> tuple[object, str]:
    """A write, for each call of the helper in which it stands."""
    return (spot.node, spot.chain[-1] if spot.chain else "")


def _caller(fate: Fate, spot: Spot) -> Spot:
    """The call of a helper that writes what it is given and knows of no alpha; else the write itself."""
    here = spot.chain[-1] if spot.chain else ""
    calls = (use.spot for use in fate.trial.ledger.uses if use.callee is spot.function)
    return next((c for c in calls if f"{c.file.filename}:{c.row}" == here), spot)
