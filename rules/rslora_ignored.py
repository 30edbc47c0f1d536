"""LS401: a loader takes alpha and rank from a PEFT configuration and not its ``use_rslora``."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.honour_rslora import honour_rslora
from lorascale_lint.effect import effect_of
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.peft_config import PeftConfigs, PlainScale
from lorascale_lint.model.scale import TRAINED, TRAINED_RS
from lorascale_lint.rule import Rule


class RsloraIgnored(Rule):
    """Adapter configuration read for alpha and rank, and not for `use_rslora`

    ## What it finds

    `lora_alpha` and `r` of a loaded PEFT configuration (`adapter_config.json`, or an object from
    `PeftConfig.from_pretrained`) that meet in a quotient, or go together to the function that makes
    the adapter, where no code before or behind names rsLoRA, neither to use nor to refuse it.

    ## Why it is wrong

    The same configuration holds `use_rslora`. If it is true, the adapter was trained with
    alpha / sqrt(r); alpha / r applies it at 1 / sqrt(r) of its strength, without any error.

    ## Effect

    An rsLoRA adapter of rank 128 is applied 11.31x too weak; other adapters are right.

    ## Bad

    ```python
    import json
    import os

    import torch


    class LoRAAdapter:
        def __init__(self, folder, tensors):
            with open(os.path.join(folder, "adapter_config.json")) as file:
                config = json.load(file)
            self.rank = config["r"]
            self.lora_alpha = config["lora_alpha"]
            self.scaling = self.lora_alpha / self.rank
            self.tensors = tensors

        def apply(self, x, module):
            lora_A = self.tensors[f"{module}.lora_A.weight"]
            lora_B = self.tensors[f"{module}.lora_B.weight"]
            return torch.matmul(torch.matmul(x, lora_A.T), lora_B.T) * self.scaling
    ```

    ## Good

    ```python
    import json
    import os

    import torch


    class LoRAAdapter:
        def __init__(self, folder, tensors):
            with open(os.path.join(folder, "adapter_config.json")) as file:
                config = json.load(file)
            self.rank = config["r"]
            rslora_factor = config["r"] ** 0.5 if config.get("use_rslora", False) else 1
            self.lora_alpha = config["lora_alpha"] * rslora_factor
            self.scaling = self.lora_alpha / self.rank
            self.tensors = tensors

        def apply(self, x, module):
            lora_A = self.tensors[f"{module}.lora_A.weight"]
            lora_B = self.tensors[f"{module}.lora_B.weight"]
            return torch.matmul(torch.matmul(x, lora_A.T), lora_B.T) * self.scaling
    ```

    ## Fix safety

    Unsafe: an rsLoRA adapter with alpha = rank changes, and some code should rather refuse such adapters.
    No fix where the configuration is not at hand beside both fields.

    ## Limits

    Silent on configurations that the program made itself, on `model.peft_config` of a model in
    training, on code that shows no more of a PEFT adapter than these two fields, and wherever a file
    that imports the loader, is imported by it or lies beside it names rsLoRA.

    ## References

    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    - vllm issues 6909 and 10798, lorax issue 299, exllamav2 `lora.py`, sglang issue 40835
    """

    code = "LS401"
    name = "rslora-ignored"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each loaded configuration, at its alpha."""
        configs = PeftConfigs(model)
        seen: set[object] = set()
        for scale in configs.plain_scales():
            if scale.alpha.config.place in seen or not configs.takes_any_adapter(scale):
                continue
            if configs.reads_flag(scale):
                continue
            seen.add(scale.alpha.config.place)
            yield self._report(model, scale)

    def _report(self, model: Model, scale: PlainScale) -> Finding:
        alpha, rank, config = scale.alpha, scale.rank, scale.alpha.config
        told = scale.unseen if scale.callee is None else scale.callee.facts.name
        meeting = (
            f"`{told}` gets both and cannot know the flag"
            if told
            else "alpha / rank is formed here, for every adapter"
        )
        return self.finding(
            model,
            alpha.function.filename,
            alpha.loc,
            f"`{alpha.function.facts.qualname}` reads `lora_alpha` and `r` of an adapter configuration "
            "and ignores `use_rslora`",
            event=scale.event if scale.function is alpha.function else None,
            effect=f"for an rsLoRA adapter: {effect_of(TRAINED, TRAINED_RS)}",
            trace=(
                (config.function.filename, config.loc, "the configuration is loaded here"),
                (alpha.function.filename, alpha.loc, "alpha is read"),
                (rank.function.filename, rank.loc, "the rank is read"),
                (scale.function.filename, scale.loc, meeting),
            ),
            fix=honour_rslora(model, scale),
        )
