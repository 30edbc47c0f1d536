"""LS311: factors are saved with an alpha that is a number of the program's own."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Confidence, Finding
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renamed_numbers import RankAsAlpha, ranks_as_alpha
from lorascale_lint.ledger.saved_scales import (
    are_saved_settings,
    has_real_factors,
    is_of_writer,
    is_saved,
    saved_scales,
)
from lorascale_lint.ledger.strengths import alphas_in_use
from lorascale_lint.ledger.tables import constant, tables
from lorascale_lint.ledger.trained_adapters import ranks_saved
from lorascale_lint.ledger.unread_in_peft import UnreadInPeft, unread_in_peft
from lorascale_lint.rule import Rule


class MadeUpAlphaSaved(Rule):
    """Factors saved beside an alpha that nobody trained with

    ## What it finds

    A literal number (0, 1, 8, 16) that is written as alpha of an adapter: into the settings beside it
    (`adapter_config.json`, metadata) although the rank there is read from somewhere, or as the `.alpha`
    of factors that come from elsewhere, or of a GGUF file (`--preview`). Also a whole scale that is written
    as alpha: alpha / rank, or a number that is called a scale or a strength; and the rank, written as alpha
    by code that trains with another alpha (`--preview`; by default where layers are made of it again), or
    that converts a file whose alphas it writes where PEFT does not look.

    ## Why it is wrong

    Alpha belongs to the training, as the rank does. Whoever reads the files forms alpha / rank of the two:
    with a number that was made up, the adapter is applied at a strength at which nobody trained it.

    ## Effect

    0x for an alpha of 0: the adapter does nothing. 32x too weak for an alpha of 1 and rank 32 where the
    training had alpha = rank.

    ## Bad

    ```python
    import json

    from safetensors.torch import save_file


    def export_adapter(tensors, trained, folder):
        factors = {name: value for name, value in tensors.items() if "lora_" in name}
        settings = {
            "peft_type": "LORA",
            "r": trained["r"],
            "lora_alpha": 0,
            "target_modules": trained["target_modules"],
        }
        with open(f"{folder}/adapter_config.json", "w") as out:
            json.dump(settings, out)
        save_file(factors, f"{folder}/adapter_model.safetensors")
    ```

    ## Good

    ```python
    import json

    from safetensors.torch import save_file


    def export_adapter(tensors, trained, folder):
        factors = {name: value for name, value in tensors.items() if "lora_" in name}
        settings = {
            "peft_type": "LORA",
            "r": trained["r"],
            "lora_alpha": trained["lora_alpha"],
            "target_modules": trained["target_modules"],
        }
        with open(f"{folder}/adapter_config.json", "w") as out:
            json.dump(settings, out)
        save_file(factors, f"{folder}/adapter_model.safetensors")
    ```

    ## Fix safety

    No fix: the alpha of the training has to come from where the factors come from.

    ## Limits

    Silent if the rank is a literal too (a configuration for training), if a layer or a `LoraConfig` of the
    project is made with the same number, or has it as its default, and in tests. An alpha that is the
    constant rank of a format is not told apart. A scale with nothing but its name to show is of medium
    confidence, unless it is PEFT's `lora_alpha` beside a rank. A scale beside the rank 1 is right.

    ## References

    - volcengine/verl issue 5325: `lora_alpha` 0 in the exported configuration
    - d8ahazard/sd_dreambooth_extension `convert_diffusers_to_kohya_lora`: a strength of 0.8 as `.alpha`
    """

    code = "LS311"
    name = "made-up-alpha-saved"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Dictionaries with a literal alpha beside a rank, or factors, that are not literal."""
        for training, write in ranks_saved(ledger):
            made = (training.spot, "the adapter is trained with this alpha")
            yield self.at(
                write.spot,
                "the rank is saved as alpha of an adapter that was trained with another one",
                confidence="medium",
                effect="scale 1 instead of the trained alpha / rank",
                trace=[made, (write.spot, "and its file says that alpha is the rank")],
            )
        made_up: list[RankAsAlpha | UnreadInPeft] = [*ranks_as_alpha(ledger), *unread_in_peft(ledger)]
        for found in made_up:
            effect = "scale 1 instead of the trained alpha / rank"
            yield self.at(found.written.spot, found.message, effect=effect, trace=found.steps)
        for saved in saved_scales(ledger):
            yield self.at(
                saved.spot,
                "a whole scale is saved as alpha, which readers divide by the rank",
                confidence="high" if saved.is_certain else "medium",
                effect="scale / rank instead of the scale: 1/16 of it at rank=16",
                trace=[
                    *([] if saved.rank is None else [(saved.rank, "readers divide by this rank")]),
                    (saved.spot, "it is divided already" if saved.is_quotient else "this is no alpha"),
                ],
            )
        own = alphas_in_use(ledger)
        for table in tables(ledger):
            alphas = table.by_role(ALPHA)
            if not alphas or alphas[0].spot.file.is_test:
                continue
            numbers = [constant(write.value) for write in alphas]
            if any(number is None or number in own for number in numbers):
                continue
            if are_saved_settings(table):
                yield self._report(alphas[0], "the rank beside it is read, and not made up")
            elif is_of_writer(table):
                yield self._report(
                    alphas[0], "the file that it is written to holds trained factors", "medium"
                )
            elif has_real_factors(table) and is_saved(ledger, table):
                yield self._report(
                    alphas[0], "the factors beside it were trained, with an alpha of their own"
                )

    def _report(self, write: KeyWrite, beside: str, confidence: Confidence = "high") -> Finding:
        number = constant(write.value)
        effect = "the adapter does nothing" if number == 0 else f"{number:g} / rank, whatever was trained"
        return self.at(
            write.spot,
            f"an adapter is saved with a made-up alpha of {number:g}",
            confidence=confidence,
            effect=f"scale {number:g}: {effect}" if number == 0 else f"scale {effect}",
            trace=[(write.spot, f"alpha is {number:g} for every adapter; {beside}")],
        )
