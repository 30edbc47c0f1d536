"""LS401: a loader takes alpha and rank from a PEFT configuration and not its ``use_rslora``."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import FLAG_FIELD
from lorascale_lint.ledger.contracts import Contracts
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.meetings import Meeting
from lorascale_lint.ledger.misnamed_fields import misnamed_fields
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS
from lorascale_lint.rule import Rule


class RsloraIgnored(Rule):
    """Adapter configuration read for alpha and rank, and not for `use_rslora`

    ## What it finds

    `lora_alpha` and `r` of a loaded PEFT configuration (`adapter_config.json`, or an object from
    `PeftConfig.from_pretrained`) that meet in a quotient, or go together to the function that makes
    the adapter, where no code before or behind uses or refuses rsLoRA (a message about it is neither).
    Also its `lora_alpha` alone, written as the alpha of a file that has no such flag (`.alpha` keys, GGUF),
    and a flag that is read under a name which the file does not have (`use_rs_lora`).

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
            if config.get("rank_pattern") or config.get("alpha_pattern"):
                raise ValueError("modules with a scale of their own")
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
            if config.get("rank_pattern") or config.get("alpha_pattern"):
                raise ValueError("modules with a scale of their own")
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
    that imports the loader, is imported by it or lies beside it reads the flag, takes it or keeps it.
    Where only another function of the file looks the factors up, seen with `--preview`.
    An alpha that is written into another file is reported with `--preview` only.
    Where the project makes adapters itself, none of them with rsLoRA, seen with `--preview` only: its
    loader may never meet another one.

    ## References

    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    - vllm issues 6909 and 10798, lorax issue 299, exllamav2 `lora.py`, sglang issue 40835
    """

    code = "LS401"
    name = "rslora-ignored"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each loaded configuration, at its alpha."""
        for wrong in misnamed_fields(ledger):
            if wrong.meant == FLAG_FIELD:
                yield self.at(
                    wrong.spot,
                    f"no adapter configuration has a field `{wrong.name}`: it is `{wrong.meant}`",
                    effect=f"for an rsLoRA adapter: {effect_of(TRAINED, TRAINED_RS)}",
                    trace=[
                        (wrong.origin, "the configuration comes from here"),
                        (wrong.spot, "this is never set by it"),
                    ],
                )
        contracts = ledger.once(Contracts)
        seen: set[tuple[object, str]] = set()
        for meeting in contracts.meetings:
            alpha = meeting.alpha.spot
            place = (alpha.function or alpha.file, meeting.path)
            origin = contracts.loaded(meeting) if place not in seen and not meeting.flagged else None
            if origin is None:
                continue
            any_adapter = contracts.takes_any_adapter(meeting, origin)
            if not any_adapter and not contracts.stands_by_factors(meeting):
                continue
            known = contracts.knows_flag(meeting, origin)
            guessed = known or contracts.trains_without_flag or not any_adapter
            if known and not contracts.is_apart(meeting, origin):
                continue
            seen.add(place)
            sure = not guessed and meeting.rank is not None
            from lorascale_lint.codemods.honour_rslora import honour_rslora

            yield self.at(
                alpha,
                f"`{alpha.name}` {_reads(meeting)} of an adapter configuration and ignores `use_rslora`",
                confidence="high" if sure else "medium",
                effect=f"for an rsLoRA adapter: {effect_of(TRAINED, TRAINED_RS)}",
                trace=_steps(meeting, origin),
                fix=honour_rslora(ledger, meeting),
            )


def _reads(meeting: Meeting) -> str:
    return "reads `lora_alpha` and `r`" if meeting.rank is not None else "writes the `lora_alpha`"


def _steps(meeting: Meeting, origin: Spot) -> list[tuple[Spot, str]]:
    """How the numbers come together."""
    met = "alpha / rank is formed here, for every adapter"
    if meeting.rank is None:
        met = "it is written as it is, and readers of the file divide it by the rank"
    elif meeting.told:
        met = f"`{meeting.told}` gets both and cannot know the flag"
    steps = [(origin, "the configuration is loaded here"), (meeting.alpha.spot, "alpha is read")]
    if meeting.rank is not None:
        steps.append((meeting.rank.spot, "the rank is read"))
    return [*steps, (meeting.spot, met)]
