"""LS122: adapters are summed factor by factor, and only one of the factors carries their weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING
from lorascale_lint.ledger.entries import FactorSum
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.rule import Rule


class OneFactorWeighted(Rule):
    """Sum of adapters in which only one factor is weighted

    ## What it finds

    Factors A of several adapters that are added up times a weight for each, beside factors B that are added
    up as they are, or the other way round.

    ## Why it is wrong

    The product of two sums holds each B with each A. With the weight on A alone the first adapter's A, scaled
    by its own weight, meets the B of an adapter that should count for nothing at full strength. With the
    root of the weight on both, each pair of one adapter gets its weight, and the mixed ones the root of both.

    ## Effect

    An adapter with weight 0 still changes the result: its B stands in the sum in full.

    ## Bad

    ```python
    def combine_lora(target, adapters, weights):
        lora_A = target.lora_A["sum"].data * 0.0
        lora_B = target.lora_B["sum"].data * 0.0
        for name, weight in zip(adapters, weights):
            lora_A += target.lora_A[name].data * weight
            lora_B += target.lora_B[name].data
        return lora_A, lora_B
    ```

    ## Good

    ```python
    import math


    def combine_lora(target, adapters, weights):
        lora_A = target.lora_A["sum"].data * 0.0
        lora_B = target.lora_B["sum"].data * 0.0
        for name, weight in zip(adapters, weights):
            lora_A += target.lora_A[name].data * math.sqrt(weight)
            lora_B += target.lora_B[name].data * math.sqrt(weight)
        return lora_A, lora_B
    ```

    ## Fix safety

    No fix: the root on both factors, a concatenation of the factors, and a sum of the products with an SVD
    are three different combinations.

    ## Limits

    Sees sums that are written out. Factors that are concatenated are right with the weight on one of them.

    ## References

    - huggingface/peft, `add_weighted_adapter`: linear combination before the root was on both factors
    """

    code = "LS122"
    name = "one-factor-weighted"
    fix = "none"
    yields_to = ("LS114",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Sums of both factors on one path, where a weight is on one side only."""
        paths: dict[tuple[object, ...], dict[str, FactorSum]] = defaultdict(dict)
        for entry in ledger.factor_sums:
            if any(atom.startswith("loop ") for atom, _ in entry.guards):
                paths[entry.spot.function, entry.spot.chain, entry.guards][entry.side] = entry
        reported: set[tuple[str, int]] = set()
        for sides in paths.values():
            if len(sides) < 2:
                continue
            for raw, weighted in ((sides["A"], sides["B"]), (sides["B"], sides["A"])):
                weight = _weight(weighted)
                place = (raw.spot.file.filename, raw.spot.row)
                if weight is None or _weight(raw) is not None or place in reported:
                    continue
                reported.add(place)
                yield self.at(
                    raw.spot,
                    f"factor {raw.side} is summed without `{weight.origin}`, which factor {weighted.side} "
                    "carries alone",
                    trace=[(weighted.spot, "here the weight multiplies the other factor")],
                )


def _weight(entry: FactorSum) -> Symbol | None:
    """What a caller chooses, in the first power: the weight of one adapter in the sum."""
    found = [
        symbol
        for symbol, power in entry.scale.powers
        if symbol.role not in (ALPHA, RANK, SCALING) and power in (Fraction(1), Fraction(1, 2))
    ]
    return found[0] if found else None
