"""LS206: what makes an adapter is given alpha and leaves it at the default of what it calls."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.dropped_alphas import dropped_alphas
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unread_options import unread_options
from lorascale_lint.rule import Rule


class ConstructorDropsAlpha(Rule):
    """Constructor or builder that drops the alpha it was given

    ## What it finds

    - A constructor or factory that takes alpha, uses it nowhere, and calls an initialiser, parent or
      class that takes alpha with a default.
    - A function that takes rank and alpha out of one configuration, or the rank out of settings that declare
      an alpha, and gives only the rank to what takes both.
    - A build step that passes the stored rank to a method of the same object, but not the stored alpha,
      and the method writes its default over it.
    - A loader that makes the layers of a trained adapter with the defaults of rank and scale, where the
      same layers are made from a configuration for training.
    - A layer that gets the rank of a configuration and the default alpha, where a related layer of the
      same file gets the configuration's alpha too.
    - A layer that gets the rank of another one which the function makes, and not its alpha.
    - An option for alpha, `--lora_alpha` or a field of settings, that no code reads but to print it,
      where the rank declared beside it makes the adapter, with a constant, the rank or a default as alpha.

    ## Why it is wrong

    The default of the callee wins. Nothing fails, because shapes depend on the rank only.

    ## Effect

    Effective scale default / rank (or 1, where alpha falls back to the rank) instead of alpha / rank.

    ## Bad

    ```python
    class LoRADense:
        def __init__(self, units, lora_rank=None, lora_alpha=None):
            self.units = units
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank

        def build(self):
            if self.lora_rank:
                self.enable_lora(self.lora_rank)

        def enable_lora(self, rank, lora_alpha=None):
            self.lora_alpha = lora_alpha if lora_alpha is not None else rank
            self.lora_rank = rank

        def call(self, inputs, lora_outputs):
            return inputs + (self.lora_alpha / self.lora_rank) * lora_outputs
    ```

    ## Good

    ```python
    class LoRADense:
        def __init__(self, units, lora_rank=None, lora_alpha=None):
            self.units = units
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank

        def build(self):
            if self.lora_rank:
                self.enable_lora(self.lora_rank, lora_alpha=self.lora_alpha)

        def enable_lora(self, rank, lora_alpha=None):
            self.lora_alpha = lora_alpha if lora_alpha is not None else rank
            self.lora_rank = rank

        def call(self, inputs, lora_outputs):
            return inputs + (self.lora_alpha / self.lora_rank) * lora_outputs
    ```

    ## Fix safety

    Safe where the callee takes the rank for a missing alpha: alpha = rank stays as it is. Otherwise unsafe:
    adapters may have been trained with the default meanwhile; say so in the notes of the release. No fix
    for a loader, which needs the values that training stored.

    ## Limits

    The callee must be visible, have exactly one alpha parameter, and store what it makes of it in an
    attribute that a method of the object reads (a variant without alpha does not). Silent if `*args` or
    `**kwargs` are passed on, if the caller uses its alpha in any other way, or if it sets the attribute
    again afterwards.

    ## References

    - Keras, `Dense.build` before `lora_alpha` was passed to `enable_lora`
    - ml-explore/mlx-examples, `apply_lora_layers`, repaired in 96757d29
    """

    code = "LS206"
    name = "constructor-drops-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls of functions that speak of LoRA which leave an alpha at its default."""
        for option in unread_options(ledger):
            if option.is_flag:
                continue
            given, build = option.given, option.build.spot
            what = "alpha is not" if given is None else f"alpha is `{given.written}`"
            told = [(option.parameter, option.told)] if option.told else []
            from lorascale_lint.codemods.forward_arguments import forward_arguments

            yield self.at(
                given or build,
                f"`{option.name}` is an option, and the adapter is made without it",
                effect="effective scale default / rank instead of alpha / rank",
                trace=[
                    (option.spot, "the option is declared here, and nothing reads it"),
                    (build, f"the rank declared beside it is given, {what}"),
                ],
                fix=forward_arguments(ledger, build.file.filename, build.loc, told, "unsafe"),
            )
        for dropped in dropped_alphas(ledger):
            spot = dropped.use.spot
            arguments = dropped.arguments
            from lorascale_lint.codemods.forward_arguments import forward_arguments

            yield self.at(
                spot,
                dropped.message,
                effect="effective scale default / rank instead of alpha / rank",
                trace=dropped.steps,
                fix=forward_arguments(
                    ledger,
                    spot.file.filename,
                    spot.loc,
                    arguments,
                    "safe" if dropped.harmless else "unsafe",
                ),
            )
