"""LS402: a module divides alpha by sqrt(rank), and saves the alpha that readers divide by the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.raw_saves import raw_configurations, raw_saves
from lorascale_lint.ledger.unsaid_roots import copied_halves, unsaid_roots
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS
from lorascale_lint.rule import Rule

EFFECT = f"in every reader of the file: {effect_of(TRAINED, TRAINED_RS)}"


class RsloraAlphaSavedRaw(Rule):
    """rsLoRA module that saves the raw alpha

    ## What it finds

    A class whose scale is alpha / sqrt(rank) when a flag of its constructor is on, and that registers
    the buffer (or parameter) `alpha` with the same value whether the flag is on or not. Also a
    configuration for PEFT that is written beside layers which all scale by alpha / sqrt(rank), always or if a
    flag says so, with their alpha and without `use_rslora`; and (`--preview`) one that is written field by
    field from a model's own.

    ## Why it is wrong

    The buffer goes into the file as `<module>.alpha`. A file of this format has no other word about
    the scale, so every reader divides it by the rank.

    ## Effect

    An adapter trained with the flag is read at 1 / sqrt(rank) of its strength: 11.31x too weak for
    rank=128.

    ## Bad

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(alpha))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Good

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(self.scale * lora_dim))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Fix safety

    Unsafe: a checkpoint to resume from may hold the raw alpha already. What is saved now, scale * rank,
    is alpha without the flag and alpha * sqrt(rank) with it; convert old files once.

    ## Limits

    Silent if the flag is saved too (a buffer, a metadata key), or comes from a configuration object,
    which may be saved beside the weights.

    ## References

    - LyCORIS stores alpha * sqrt(dim) for LoCon, LoHa and LoKr
    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    """

    code = "LS402"
    name = "rslora-alpha-saved-raw"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Classes with a scale that depends on the flag and a saved alpha that does not."""
        for saved, built in raw_configurations(ledger):
            yield self.at(
                saved,
                "the raw alpha of a configuration that may say rsLoRA is saved",
                confidence="medium",
                effect=EFFECT,
                trace=(
                    (built, "the adapter is made here, with the flag"),
                    (saved, "the file gets alpha itself, flag or no flag"),
                ),
            )
        for found in unsaid_roots(ledger):
            yield self.at(
                found.alpha,
                "the layers divide alpha by sqrt(rank), and their configuration does not say `use_rslora`",
                effect=EFFECT,
                trace=(
                    (
                        found.applied,
                        f"the scale is alpha / sqrt(rank){', if a flag says so' * found.sometimes}",
                    ),
                    (found.alpha, "readers divide this alpha by the rank"),
                ),
            )
        for copied in copied_halves(ledger):
            yield self.at(
                copied.alpha,
                f"alpha and rank of `{copied.owner}` are written for PEFT, and not its `use_rslora`",
                confidence="medium",
                effect=EFFECT,
                trace=((copied.alpha, "a reader of this configuration takes alpha / rank"),),
            )
        for raw in raw_saves(ledger):
            from lorascale_lint.codemods.save_effective_alpha import save_effective_alpha

            yield self.at(
                raw.saved.spot,
                f"`{raw.cls.name}` scales by alpha / sqrt(rank) with rsLoRA and saves the raw alpha",
                effect=EFFECT,
                trace=(
                    (raw.scale.spot, "with the flag on, the scale is alpha / sqrt(rank)"),
                    (raw.saved.spot, "the file gets alpha itself, flag or no flag"),
                ),
                fix=save_effective_alpha(ledger, raw.scale, raw.saved),
            )
