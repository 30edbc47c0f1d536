"""LS208: the alpha that meets the factors is that of another call, or of another module."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.carried_over import carried_over
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.former_names import former_names
from lorascale_lint.ledger.just_loaded import only_if_just_loaded
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import left_overs
from lorascale_lint.ledger.left_scales import left_scales
from lorascale_lint.ledger.left_strengths import left_strengths
from lorascale_lint.ledger.spots import name_spot
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class StaleAlpha(Rule):
    """Alpha of another call or another module

    ## What it finds

    - Factors that are taken from a store of adapters, and their alpha from the same store only if a local
      flag says that the file was loaded in this call.
    - The alpha of one module, looked up in a loop that has ended, that is multiplied into, or passed with,
      the factors of the modules of another loop.
    - A scale by the name of a former loop, in a loop over the same list that calls its element otherwise.
    - A strength that is an element of a list in a loop that has ended, multiplied on in a later loop.
    - A method that replaces both factors of a layer, and leaves the scale that another one sets with them.

    ## Why it is wrong

    alpha belongs to the factors of its module. Switching back to a loaded adapter gives its factors and
    no alpha; a file whose modules differ in rank or alpha gets the first module's scale everywhere.

    ## Effect

    Effective scale 1 instead of alpha / rank after a switch; scale of the first module for all others.

    ## Bad

    ```python
    class LoRAPipeline:
        def set_adapter(self, nickname, path=None):
            adapter_updated = False
            if path is not None:
                self.adapters[nickname] = load_file(path)
                adapter_updated = True
            for name, layer in self.lora_layers.items():
                lora_A = self.adapters[nickname][name + ".lora_A"]
                lora_B = self.adapters[nickname][name + ".lora_B"]
                alpha = self.adapters[nickname].get(name + ".lora_alpha") if adapter_updated else None
                layer.set_lora_weights(lora_A, lora_B, lora_alpha=alpha)
    ```

    ## Good

    ```python
    class LoRAPipeline:
        def set_adapter(self, nickname, path=None):
            adapter_updated = False
            if path is not None:
                self.adapters[nickname] = load_file(path)
                adapter_updated = True
            for name, layer in self.lora_layers.items():
                lora_A = self.adapters[nickname][name + ".lora_A"]
                lora_B = self.adapters[nickname][name + ".lora_B"]
                alpha = self.adapters[nickname].get(name + ".lora_alpha")
                layer.set_lora_weights(lora_A, lora_B, lora_alpha=alpha)
    ```

    ## Fix safety

    Safe: alpha is looked up where the factors are, without the condition; a missing alpha and one that
    equals the rank give the same scale. No fix for an alpha of another module: look it up under the key of
    the same module, and divide by the rank of that module's own factor.

    ## Limits

    The flag must be a local that this call sets; any other condition is not reported. The first alpha of
    a file, used for all its modules, is LS307.

    ## References

    - FastVideo, `LoRAPipeline.set_lora_adapter`, repaired in d3a821cd
    """

    code = "LS208"
    name = "stale-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Alphas of another call or module, each place once."""
        for stale in only_if_just_loaded(ledger):
            from lorascale_lint.codemods.always_look_up import always_look_up

            yield self.at(
                stale.flag,
                "alpha is looked up only if the adapter was loaded in this very call",
                effect=f"{effect_of(ONE)}, after switching back to an adapter",
                trace=[
                    (stale.flag, "the flag says only whether this call loaded the file"),
                    (stale.looked_up, "alpha is looked up where the flag says so, and else None"),
                    (stale.used, "the factors are taken from the store in any case, and meet it here"),
                ],
                fix=always_look_up(ledger.read_source, stale.flag),
            )
        for kept in left_scales(ledger):
            function, store = kept.function, kept.store
            yield self.at(
                name_spot(function),
                f"`{function.name}` replaces both factors and leaves the `{store.field}` of the former ones",
                effect="alpha / rank of the adapter before",
                trace=[
                    *(
                        (spot, f"factor {side} is replaced here")
                        for side, spot in sorted(kept.factors.items())
                    ),
                    (store.spot, f"`{store.spot.name}` sets `{store.field}` with the factors"),
                ],
            )
        for former in (*former_names(ledger), *left_strengths(ledger)):
            yield self.at(
                former.used,
                f"`{former.name}` is left over from a former loop{former.instead}",
                effect=f"the `{former.name}` of the last element instead of each one's own",
                trace=[
                    (former.bound, f"`{former.name}` is an element in a loop that has ended"),
                    (former.used, "it scales every element of this one"),
                ],
            )
        for carried in carried_over(ledger):
            start = [] if carried.start is None else [(carried.start.spot, "it is set once, before the loop")]
            yield self.at(
                carried.taken.spot,
                f"`{carried.taken.name}` is set for modules that have an alpha only, and the next module "
                "without one gets it too",
                effect="alpha / rank of the module before instead of 1",
                trace=[
                    *start,
                    (carried.taken.spot, "here for the module at hand, under a condition"),
                    (carried.used.spot, "and here it multiplies in any case, with what the last round left"),
                ],
            )
        for left in ledger.once(left_overs):
            if left.asked_for:
                yield self.at(
                    left.used,
                    "the alpha of one module is left over from a loop, and used for other modules",
                    effect="alpha of the last module / rank instead of each module's own alpha / rank",
                    trace=[
                        (left.taken, "alpha is that of one entry of the adapter"),
                        (left.used, "the loop has ended, and other entries meet the alpha left over"),
                    ],
                )
