"""LS229: a layer that may have a rank of its own gets a scale that is divided by the default rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.default_ranks import default_ranks
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.padded_ranks import padded_ranks
from lorascale_lint.rule import Rule


class ScaleOfDefaultRank(Rule):
    """Scale divided by the default rank where the layer has its own

    ## What it finds

    A call that makes a layer with the rank of a table (`rank_pattern.get(name, config.r)`) and with a scale
    that is divided by the rank which stands in where the table has no entry. Also an alpha that is divided by
    the rank of a place for several adapters (`max_rank`), or by the rows of a factor that was padded to it.

    ## Why it is wrong

    The scale of a layer is its alpha over its own rank. Where the table has an entry, the factors have that
    rank, and the scale is that of another one.

    ## Effect

    For a layer of rank 64 beside a default of 16: 4.00x too strong.

    ## Bad

    ```python
    class LoraLinear:
        def __init__(self, base, rank, scaling):
            self.base = base
            self.rank = rank
            self.scaling = scaling


    def wrap(name, base, config):
        rank = config.rank_pattern.get(name, config.rank)
        return LoraLinear(base, rank, config.lora_alpha / config.rank)
    ```

    ## Good

    ```python
    class LoraLinear:
        def __init__(self, base, rank, scaling):
            self.base = base
            self.rank = rank
            self.scaling = scaling


    def wrap(name, base, config):
        rank = config.rank_pattern.get(name, config.rank)
        return LoraLinear(base, rank, config.lora_alpha / rank)
    ```

    ## Fix safety

    No fix: the number that is given may have been computed elsewhere. Divide by the rank that the layer gets.

    ## Limits

    Looks at calls that are given both, the rank and the scale.

    ## References

    - PEFT `LoraLayer.update_layer` divides by the rank that it is given, after `rank_pattern`
    """

    code = "LS229"
    name = "scale-of-default-rank"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls that give a rank out of a table, and the scale of the default."""
        for found in default_ranks(ledger):
            yield self.at(
                found.use.spot,
                f"the layer may have the rank `{found.own}`, and its scale is divided by `{found.default}`",
                effect="4.00x too strong for a layer of rank 64 beside a default of 16",
                trace=[(found.use.spot, f"the scale that is given is {found.scale.formula()}")],
            )
        for padded in padded_ranks(ledger):
            yield self.at(
                padded.quotient,
                "alpha is divided by the rank that there is room for, and not by that of its factors",
                effect="for a rank of 16 in a place for 64: 4.00x too weak",
                trace=[
                    (padded.padded, "the factors are put where there is room for a higher rank"),
                    (padded.quotient, "alpha belongs to the rank that they have"),
                ],
            )
