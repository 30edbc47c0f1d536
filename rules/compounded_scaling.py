"""LS503: a stored scaling is taken for a strength and multiplied by alpha / rank once more."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import SCALES_TRAINED
from lorascale_lint.ledger.entries import KeyRead
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.scaling_tables import degree, is_entry, scales_of, table_of, table_writes
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.strengths import argument_of
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Place, Value, options
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

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Entries that come back times alpha / rank, or are given to what multiplies by it."""
        reads = [read for read in ledger.reads if read.how != "in" and read.how != "del"]
        for write, table in table_writes(ledger):
            if not any(degree(scale) > 1 for scale in scales_of(write.value)):
                continue
            read = next((r for r in reads if _same(r, table) and _near(r.spot, write.spot)), None)
            if read is not None:
                yield self._report(read, write.spot, "it is multiplied")
        name = SCALES_TRAINED.call
        files = {use.spot.file for use in ledger.uses}
        if any(function.name == name for file in files for function in file.all_functions):
            return  # what a setter of the project does is not known here
        for use in ledger.uses:
            argument = argument_of(use, SCALES_TRAINED)
            if use.called != name or argument is None or use.spot.file.is_test:
                continue
            if any(degree(scale) == 1 and _holds_entry(scale) for scale in scales_of(argument[0])):
                read = next((r for r in reads if table_of(r) is not None and _near(r.spot, use.spot)), None)
                yield self._report(read, use.spot, f"`{name}` multiplies it")

    def _report(self, read: KeyRead | None, spot: Spot, again: str) -> Finding:
        return self.at(
            spot,
            "a stored scaling is taken for a strength and multiplied by alpha / rank again",
            effect="effective scale (alpha / rank)^2 after the first call, and so on",
            trace=[
                (read.spot if read is not None else spot, "this entry already holds alpha / rank"),
                (spot, f"{again} by alpha / rank once more"),
            ],
        )


def _same(read: KeyRead, table: Value) -> bool:
    if isinstance(table, Place):
        return any(getattr(option.value, "path", "") == table.path for option in options(read.container))
    return read.container == table


def _near(one: Spot, two: Spot) -> bool:
    """Do both stand in one function, or in one class?"""
    return one.function is two.function or (one.cls is not None and one.cls is two.cls)


def _holds_entry(scale: Scale) -> bool:
    return any(is_entry(symbol) for symbol, _ in scale.powers)
