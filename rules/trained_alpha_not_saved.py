"""LS314: a trainer is given alpha and rank, and what it saves tells nobody."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.half_restored import half_restored
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_out_of_config import left_out_of_config
from lorascale_lint.ledger.reapplied import reapplied
from lorascale_lint.ledger.unsaved_alphas import unsaved_alphas
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class TrainedAlphaNotSaved(Rule):
    """Trained with an alpha of its own, saved without it

    ## What it finds

    A program that makes LoRA layers with an alpha that is not the rank, and writes their factors alone:
    diffusers' `save_lora_weights` without `..._lora_adapter_metadata`, or a state dict that is filtered down
    to the LoRA keys. Or a function that makes layers again with the rank of the settings that another one
    saves, and leaves their alpha or scale at a default, where training gives one and nothing saves it. And
    factors of layers with a trained scale that are saved, and added to a weight as they are elsewhere. And a
    layer of keras whose `get_config` tells its rank and not its alpha.

    ## Why it is wrong

    The layers were trained at alpha / rank. Whoever loads the file finds no alpha and takes alpha = rank.

    ## Effect

    2.00x too strong for alpha 16 and rank 32.

    ## Bad

    ```python
    from diffusers import FluxPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict


    def main(args, transformer):
        config = LoraConfig(r=args.rank, lora_alpha=args.lora_alpha, target_modules=["to_q", "to_v"])
        transformer.add_adapter(config)
        train(transformer)
        layers = get_peft_model_state_dict(transformer)
        FluxPipeline.save_lora_weights(args.output_dir, transformer_lora_layers=layers)
    ```

    ## Good

    ```python
    from diffusers import FluxPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict


    def main(args, transformer):
        config = LoraConfig(r=args.rank, lora_alpha=args.lora_alpha, target_modules=["to_q", "to_v"])
        transformer.add_adapter(config)
        train(transformer)
        layers = get_peft_model_state_dict(transformer)
        FluxPipeline.save_lora_weights(
            args.output_dir,
            transformer_lora_layers=layers,
            **_collate_lora_metadata({"transformer": transformer}),
        )
    ```

    ## Fix safety

    No fix: `save_lora_weights` takes metadata in new versions of diffusers only; else fold alpha / rank into
    B, write an `.alpha` for each module, or train with alpha = rank.

    ## Limits

    The layers are made and saved in one file. Silent if that file uses alpha / rank as a strength when it
    loads the factors again, folds it, or writes any alpha. A filtered state dict is reported with `--preview`
    only, and not if the program writes settings beside it or loads it again in the same function, nor if
    a merge in the same folder is given alpha and rank by its caller, or another file that loads tensors into
    a model makes such layers at the same scale.

    ## References

    - huggingface/diffusers pull request 6225 and `save_lora_weights(transformer_lora_adapter_metadata=)`
    - THUDM/CogVideoX: the strength must be alpha / rank, for the file has no alpha
    """

    code = "LS314"
    name = "trained-alpha-not-saved"
    fix = "none"
    yields_to = ("LS309",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Files that make layers with an alpha of their own and save factors without it."""
        for told in left_out_of_config(ledger):
            yield self.at(
                told.spot,
                f"`{told.cls.name}` is rebuilt with its rank and without its `{told.alpha}`",
                effect="a loaded model has the default alpha / rank",
                trace=[
                    (told.spot, "the arguments of the constructor are told here"),
                    (told.declared, f"and `{told.alpha}` takes its default"),
                ],
            )
        for found in unsaved_alphas(ledger):
            trained = found.scale.formula()
            yield self.at(
                found.saved.spot,
                f"the layers are trained at {trained} and saved without alpha",
                confidence=found.confidence,
                effect=effect_of(ONE, found.scale),
                trace=[
                    (found.made.spot, f"the layers are made: their scale is {trained}"),
                    (found.saved.spot, "only factors are saved: who loads them takes the scale 1"),
                ],
            )
        for lost in reapplied(ledger):
            if lost.stated is None:
                yield self.at(
                    lost.written.spot,
                    f"factors are saved without a scale, and `{lost.again.spot.name}` adds them as they are",
                    effect=effect_of(ONE, lost.trained.scale),
                    trace=[
                        (lost.trained.spot, f"they are trained at {lost.trained.scale.formula()}"),
                        (lost.written.spot, "they are saved, and no alpha with them"),
                        (lost.again.spot, "here they come back, and their scale is 1"),
                    ],
                )
        for left in half_restored(ledger):
            if left.written is None and left.told is not None:
                yield self.at(
                    left.use.spot,
                    f"`{left.use.spot.name}` makes the layers with the default of `{left.parameter}`: "
                    "nothing saves the trained one",
                    trace=[
                        (
                            left.told.spot,
                            f"`{left.told.spot.name}` gives the layers their `{left.parameter}`",
                        ),
                        (
                            left.trip.tables[0].writes[0].spot,
                            "what is saved beside the factors has no word of it",
                        ),
                        (left.use.spot, "here the rank comes from there, and the default wins"),
                    ],
                )
