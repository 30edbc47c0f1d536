"""LS409: code that is told to use rsLoRA and drops the flag on the way."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding, Repair
from lorascale_lint.immutable import replace
from lorascale_lint.ledger.flags import Flags, LostFlag
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.misread_flags import misread_flags
from lorascale_lint.ledger.saved_flags import saved_flags
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.unread_options import unread_options
from lorascale_lint.ledger.unrooted_siblings import unrooted_siblings
from lorascale_lint.ledger.untold_siblings import untold_siblings
from lorascale_lint.rule import Rule

EFFECT = "alpha / r instead of alpha / sqrt(r): 11.31x too weak for rank 128"


class RsloraDropped(Rule):
    """rsLoRA asked for and dropped on the way

    ## What it finds

    - A function that takes `use_rslora` together with alpha and rank and never looks at it, while it
      divides them or hands both on.
    - A call that passes alpha and rank on to a function that takes `use_rslora` with a default, from a
      function that has the flag and does not pass it.
    - A configuration that is asked for the flag under one name and read under another, which nothing
      else in the file names.
    - An option of the command line, or a field of the settings, that nothing reads, while the rank declared
      beside it makes a `LoraConfig` (`--preview`).
    - A function that makes layers of one configuration, kind by kind, and tells two kinds or more of it,
      and not this one.
    - A call that makes layers of settings whose flag is saved as `use_rslora`, and does not pass it.
    - A class that divides the alpha of a configuration by its rank, beside one that asks the same
      configuration for the flag.
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

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each place where the flag ends."""
        for lost in Flags(ledger).lost():
            message, fix, steps = _told(ledger, lost)
            yield self.at(
                lost.spot,
                message,
                effect=EFFECT,
                trace=steps,
                fix=fix,
            )
        for option in unread_options(ledger):
            if option.is_flag:
                yield self.at(
                    option.build.spot,
                    f"`{option.name}` is an option, and `{option.build.called}` is made without it",
                    confidence="medium",
                    effect=EFFECT,
                    trace=[
                        (option.spot, "the option is here, and nothing but a message reads it"),
                        (option.build.spot, "the rank declared beside it is given, the flag is not"),
                    ],
                )
        for sibling in untold_siblings(ledger):
            yield self.at(sibling.spot, sibling.message, effect=EFFECT, trace=sibling.steps)
        for apart in unrooted_siblings(ledger):
            yield self.at(apart.spot, apart.message, effect=EFFECT, trace=apart.steps)
        for saved in saved_flags(ledger):
            yield self.at(saved.spot, saved.message, effect=EFFECT, trace=saved.steps)
        for found in misread_flags(ledger):
            yield self.at(found.spot, found.message, effect=EFFECT, trace=found.steps)


def _told(ledger: Ledger, lost: LostFlag) -> tuple[str, Repair | None, list[tuple[Spot, str]]]:
    """What is wrong, its repair, and how it comes about."""
    name, flag = lost.function.qualname, lost.flag
    divided = "alpha is divided by the rank, whatever the flag says"
    declared = replace(lost.spot, node=lost.function.argument(flag) or lost.function.node)
    if lost.quotient is not None:
        steps = [(lost.spot, "the flag is taken here"), (lost.quotient, divided)]
        from lorascale_lint.codemods.root_if_asked import root_if_asked

        fix = root_if_asked(ledger, lost.quotient, flag)
        return f"`{name}` takes `{flag}` and never looks at it", fix, steps
    if lost.taken is not None:
        target, taken = lost.taken
        accepted = replace(lost.spot, file=target.file, node=target.argument(taken) or target.node)
        steps = [
            (declared, "the caller is told whether to use rsLoRA"),
            (lost.spot, "alpha and rank are passed on, the flag is not"),
            (accepted, "so its default holds: alpha / r"),
        ]
        from lorascale_lint.codemods.forward_arguments import forward_arguments

        fix = forward_arguments(ledger, lost.spot.file.filename, lost.spot.loc, ((taken, flag),), "unsafe")
        return f"`{name}` has `{flag}` and does not pass it to `{target.qualname}`", fix, steps
    if lost.giver is not None:
        extra = lost.function.node.args.kwarg
        taker = f"**{extra.arg}" if extra is not None else "**"
        steps = [(lost.giver.spot, f"`{flag}` is passed here"), (declared, f"and ends in `{taker}`")]
        steps.append((lost.spot, divided))
        return f"`{name}` swallows `{flag}` in `{taker}` and divides by the rank", None, steps
    steps = [(lost.spot, "the flag is taken here, and nothing reads it")]
    return f"`{name}` takes `{flag}`, hands alpha and rank on and drops it", None, steps
