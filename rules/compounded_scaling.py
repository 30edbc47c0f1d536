"""LS503: a stored scaling is taken for a strength and multiplied by alpha / rank once more."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.compounded_scaling import compounded_scalings
from lorascale_lint.rule import Rule


class CompoundedScaling(Rule):
    """Stored scaling read back as a strength and scaled again

    ## What it finds

    An entry of a layer's table `scaling` that is read, and written back times alpha / rank, directly or by
    way of a list of weights; an entry that is given to PEFT's `set_scale`, which multiplies what it gets
    by alpha / rank.

    ## Why it is wrong

    `scaling[adapter]` already holds strength * alpha / rank. Whoever reads it as the strength multiplies
    the trained scale on again, each time that the code runs.

    ## Effect

    After n calls the effective scale is (alpha / rank)^(n + 1): 4.00x too weak after two for alpha=64,
    rank=128; alpha = rank hides it.

    ## Bad

    ```python
    class LoraLayer:
        def set_adapters(self, names, weights=None):
            if weights is None:
                weights = [self.scaling[name] for name in names]
            for name, weight in zip(names, weights):
                self.scaling[name] = weight * self.lora_alpha[name] / self.r[name]
    ```

    ## Good

    ```python
    class LoraLayer:
        def set_adapters(self, names, weights=None):
            if weights is None:
                weights = [self.strengths[name] for name in names]
            for name, weight in zip(names, weights):
                self.strengths[name] = weight
                self.scaling[name] = weight * self.lora_alpha[name] / self.r[name]
    ```

    ## Fix safety

    No fix: where the trained scale is to be kept is a choice. Keep the strength in an attribute of its own,
    or set `scaling` to the trained scale times the strength each time.

    ## Limits

    Silent where the entry is divided by anything before it comes back.

    ## References

    - PEFT `LoraLayer.set_scale`
    - siliconflow/onediff `_set_adapter`
    """

    code = "LS503"
    name = "compounded-scaling"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each write or call."""
        seen: set[tuple[str, int]] = set()
        for found in compounded_scalings(model):
            function = found.function
            place = (function.filename, found.loc.row)
            if place in seen:
                continue
            seen.add(place)
            again = "`set_scale` multiplies it" if found.sets else "it is multiplied"
            yield self.finding(
                model,
                function.filename,
                found.loc,
                "a stored scaling is taken for a strength and multiplied by alpha / rank again",
                event=found.event,
                effect="effective scale (alpha / rank)^2 after the first call, and so on",
                trace=(
                    (function.filename, found.read.loc, "this entry already holds alpha / rank"),
                    (function.filename, found.loc, f"{again} by alpha / rank once more"),
                ),
            )
