"""LS114: a merge multiplies both factors by the user's ratio."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.combinations import signs_lost
from lorascale_lint.ledger.factor_ratios import squared_ratios
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.singular_values import squared_values
from lorascale_lint.rule import Rule


class RatioOnBothFactors(Rule):
    """Merge ratio multiplied onto both factors

    ## What it finds

    A user's ratio or strength, or alpha / rank, that is multiplied onto factor A and onto factor B of the
    same delta: in a product of both, where both are stored, or entry by entry over a whole adapter file.
    The square root of a weight that takes the weight's sign on both factors, or (with `--preview`) of its
    absolute value, where neither factor gets the sign. Singular values of a decomposition on both of the new
    factors.

    ## Why it is wrong

    The delta is the product of both factors, so it holds the square of the ratio, and a negative ratio
    loses its sign. Multiply one factor by it, or both by its square root.

    ## Effect

    Ratio 0.5 merges 0.25 of the adapter; -1.0 merges it forwards, unless one side takes the absolute value.

    ## Bad

    ```python
    def merge_lora(weight, lora_up, lora_down, ratio):
        up = lora_up * ratio
        down = lora_down * ratio
        return weight + up @ down
    ```

    ## Good

    ```python
    def merge_lora(weight, lora_up, lora_down, ratio):
        up = lora_up * ratio
        return weight + up @ lora_down
    ```

    ## Fix safety

    No fix: people may have got used to the squared ratios, and which factor takes a negative one is a choice.
    Multiply one factor by the ratio, or both by the root of its absolute value and one by its sign.

    ## Limits

    Over a whole file a strength counts by its name, another number if it is shown to be one (a default, an
    annotation, a caller) and no caller gives a root or the rest of another one; so does alpha / rank, which
    converters fold in. A condition that may tell the keys of one factor from the other's, and an average of
    checkpoints whose ratios sum to 1, are silent.

    ## References

    - kohya-ss/sd-scripts, `merge_lora.py`, issues 586 and 868
    - cloneofsimo/lora, `monkeypatch_add_lora`
    - LukeCoulson1/Comfyui_LoraCombine, `_fallback_linear_merge`
    """

    code = "LS114"
    name = "ratio-on-both-factors"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each place where both factors carry the ratio."""
        for found in squared_ratios(ledger):
            first, last = f"`{found.number}` is multiplied on here", "and onto the other factor here"
            if found.whole_file:
                first, last = "entries are written here, under any of their keys", first
            yield self.at(
                found.last,
                f"`{found.last.name}` multiplies both factors by `{found.number}`, so the delta by its "
                "square",
                confidence="high" if found.sure else "medium",
                effect="ratio 0.5 merges 0.25 of the adapter",
                trace=[(found.first, first), (found.last, last)],
            )
        for values in squared_values(ledger):
            yield self.at(
                values.last,
                f"`{values.values}` multiplies both factors of a decomposition, so the product by its square",
                effect="every direction as strong as the square of what it was",
                trace=[
                    (values.cut, "the matrix is the product of three"),
                    (values.first, f"`{values.values}` goes to one factor here"),
                    (values.last, "and to the other one here"),
                ],
            )
        for lost in signs_lost(ledger):
            how = "without its sign" if lost.is_absolute else "with its sign"
            yield self.at(
                lost.last,
                f"`{lost.last.name}` gives both factors the root of the weight {how}",
                confidence="medium" if lost.is_absolute else "high",
                effect="a negative weight adds the adapter instead of taking it away",
                trace=[
                    (lost.made, f"the root of the weight {how}"),
                    (lost.first, "goes to one factor here"),
                    (lost.last, "and to the other one here"),
                ],
            )
