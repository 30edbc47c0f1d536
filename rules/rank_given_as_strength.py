"""LS501: a call gives alpha, the rank or 1 / rank where the library wants a plain multiplier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.apart_at_calls import apart_at_calls
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.scaled_already import scaled_already
from lorascale_lint.ledger.strengths import GivenStrength, given_strengths, no_strengths
from lorascale_lint.rule import Rule


class RankGivenAsStrength(Rule):
    """Alpha or rank given as a plain multiplier

    ## What it finds

    Calls of a library function whose argument multiplies the delta as it is (`fuse_lora(lora_scale=)`,
    `set_adapters(..., weights)`, DiffSynth's `load_lora(alpha=)`, PEFT's `scale_layer` ...) with an alpha, a
    rank, 1 / rank, or for DiffSynth an integer that can only be an alpha; and with the alpha / rank that the
    adapter states itself, in a model's `peft_config` or in the metadata of its file (`ss_network_alpha`).
    With `--preview` also with alpha / rank where the same program makes the layers with that alpha.

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
    or divided by one), or looks it up beside a rank, because some programs call the strength so. Needs an
    import of the library in the file; functions of the project are judged by what they do with the
    parameter, and only a rank, or an alpha that another caller divides, is reported there; with `--preview`
    the alpha of settings beside their rank.

    ## References

    - diffusers `fuse_lora` and `set_adapters`, DiffSynth `load_lora`, PEFT `LoraLayer.scale_layer`
    - huggingface/diffusers pull request 6225: what to give when alpha was not saved
    """

    code = "LS501"
    name = "rank-given-as-strength"
    severity = "warning"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Each call whose multiplier is shown to be no multiplier, whoever calls its function."""
        told = no_strengths(ledger)
        places: dict[object, list[GivenStrength]] = defaultdict(list)
        for given in given_strengths(ledger):
            if not given.spot.file.is_test:
                places[given.spot.file.filename, given.spot.span].append(given)
        for looks in places.values():
            called = [given for given in looks if given.spot.chain] or looks
            reasons = [told(given) for given in called]
            if reasons[0] is not None and None not in reasons:
                yield self._report(ledger, called[0], reasons[0])
        for apart in apart_at_calls(ledger):
            yield self.at(
                apart.raw,
                f"`{apart.callee.name}` multiplies by `{apart.parameter}` and is given an alpha here",
                effect="rank x too strong: alpha instead of alpha / rank",
                trace=[
                    (apart.ratio, "another caller gives alpha / rank"),
                    (apart.raw, "this one alpha itself"),
                ],
            )
        for found in scaled_already(ledger):
            call = found.given.argument.call or found.given.use.name
            yield self.at(
                found.given.spot,
                f"`{call}` is given alpha / rank, which the layers of the adapter multiply by already",
                confidence="high" if found.made is None else "medium",
                effect="(alpha / rank)^2 instead of alpha / rank",
                trace=[(found.given.spot, "the alpha / rank that the adapter states itself is its strength")]
                if found.made is None
                else [
                    (found.made, "the model gets the adapter here, with this alpha"),
                    (found.given.spot, "and the same alpha / rank is its strength"),
                ],
            )

    def _report(self, ledger: Ledger, given: GivenStrength, reason: str) -> Finding:
        text = given.spot.written
        call = given.argument.call or given.use.name
        from lorascale_lint.codemods.give_strength_of_one import give_strength_of_one

        return self.at(
            given.spot,
            f"`{call}` takes a plain multiplier and is given {reason}",
            confidence="medium" if given.is_own and reason == "an alpha" else "high",
            effect=f"the delta is multiplied by `{text}` on top of its trained scale",
            trace=[
                (given.use.spot, f"`{call}` of {given.argument.library} multiplies by its argument"),
                (given.spot, f"`{text}` is {reason}, not a strength"),
            ],
            fix=give_strength_of_one(ledger, given.spot) if given.single else None,
        )
