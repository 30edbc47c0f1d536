"""LS409: code that is told to use rsLoRA and drops the flag on the way."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.forward_arguments import forward_arguments
from lorascale_lint.codemods.root_if_asked import root_if_asked
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Model
from lorascale_lint.model.rslora_flags import DroppedFlag, dropped_flags
from lorascale_lint.rule import Rule


class RsloraDropped(Rule):
    """rsLoRA asked for and dropped on the way

    ## What it finds

    - A function that takes `use_rslora` together with alpha and rank and never looks at it, while it
      divides them or hands both on.
    - A call that passes alpha and rank on to a function that takes `use_rslora` with a default, from a
      function that has the flag and does not pass it.
    - A call that gives `use_rslora` to a function which swallows it in `**kwargs` and divides alpha by
      the rank.

    ## Why it is wrong

    Whoever asks for rsLoRA gets alpha / r instead of alpha / sqrt(r), silently, and the configuration
    that is saved still says rsLoRA: every other program applies the adapter at another strength.

    ## Effect

    1 / sqrt(r): 11.31x too weak for rank 128.

    ## Bad

    ```python
    import math


    class LoRALinear:
        def __init__(self, base_layer, r, lora_alpha, use_rslora=False):
            self.base_layer = base_layer
            self.update_layer(r, lora_alpha)

        def update_layer(self, r, lora_alpha, use_rslora=False):
            self.scaling = lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r
    ```

    ## Good

    ```python
    import math


    class LoRALinear:
        def __init__(self, base_layer, r, lora_alpha, use_rslora=False):
            self.base_layer = base_layer
            self.update_layer(r, lora_alpha, use_rslora=use_rslora)

        def update_layer(self, r, lora_alpha, use_rslora=False):
            self.scaling = lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r
    ```

    ## Fix safety

    Unsafe: rsLoRA adapters change, also those with alpha = r, and some may have been trained at alpha / r
    meanwhile. The flag is passed on, or looked at where alpha is divided. No fix where it ends in
    `**kwargs`: give the function the parameter.

    ## Limits

    The callee must be among the files given, except where nothing reads the flag. Silent where the text
    beside it says that it is not supported, where a function refuses the flag or hands on
    `**kwargs`, and on methods that a subclass overrides.

    ## References

    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    - vllm issue 55545, PEFT pull request 2775
    """

    code = "LS409"
    name = "rslora-dropped"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each place where the flag ends."""
        for found in dropped_flags(model):
            yield self.finding(
                model,
                found.function.filename,
                found.loc,
                found.message,
                event=found.event,
                effect="alpha / r instead of alpha / sqrt(r): 11.31x too weak for rank 128",
                trace=found.steps,
                fix=_repair(model, found),
            )


def _repair(model: Model, found: DroppedFlag) -> Repair | None:
    filename = found.function.filename
    if found.argument is not None:
        return forward_arguments(model, filename, found.loc, (found.argument,), "unsafe")
    if found.quotient is None:
        return None
    return root_if_asked(model, filename, found.quotient, found.flag)
