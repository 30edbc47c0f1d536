"""LS317: factors are written with the trained scale in them, and alpha as it was."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.baked import baked
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.rule import Rule


class BakedScaleWithAlpha(Rule):
    """Factors saved with alpha / rank in them, beside the same alpha

    ## What it finds

    An exporter, converter or merge of adapters that multiplies a factor by alpha / rank (or alpha /
    sqrt(rank)), writes it, and writes the alpha as it was: under the module's `.alpha`, or as
    `lora_alpha` of the configuration.

    ## Why it is wrong

    Whoever reads the file multiplies by alpha / rank. With the scale in the factors, the alpha of the file
    has to be its rank.

    ## Effect

    The trained scale twice: 4.00x too weak for alpha=16, rank=64.

    ## Bad

    ```python
    import torch


    def export(state_dict, names, alpha, rank):
        out = {}
        for name in names:
            up = state_dict[f"{name}.lora_B.weight"] * (alpha / rank)
            out[f"{name}.lora_down.weight"] = state_dict[f"{name}.lora_A.weight"]
            out[f"{name}.lora_up.weight"] = up
            out[f"{name}.alpha"] = torch.tensor(float(alpha))
        return out
    ```

    ## Good

    ```python
    import torch


    def export(state_dict, names, alpha, rank):
        out = {}
        for name in names:
            up = state_dict[f"{name}.lora_B.weight"] * (alpha / rank)
            out[f"{name}.lora_down.weight"] = state_dict[f"{name}.lora_A.weight"]
            out[f"{name}.lora_up.weight"] = up
            out[f"{name}.alpha"] = torch.tensor(float(rank))
        return out
    ```

    ## Fix safety

    No fix: either the factors or the alpha may be what others count on already.

    ## Limits

    The scale must be known, and be in one factor whole: half of it in each is not reported yet. Silent where
    another alpha is computed for the file. Where the written alpha is another number than that in the
    factors, as of the first of several adapters, it is reported with `--preview`.

    ## References

    - kohya-ss/sd-scripts `networks/merge_lora.py` writes the new rank as alpha after it merged scaled factors
    """

    code = "LS317"
    name = "baked-scale-with-alpha"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each function, at the alpha."""
        seen: set[tuple[str, int]] = set()
        for found in baked(ledger):
            place = (found.alpha.file.filename, found.alpha.row)
            if place not in seen:
                seen.add(place)
                yield self._report(found.factor, found.alpha, found.scale.formula(), found.sure)

    def _report(self, factor: Spot, alpha: Spot, scale: str, sure: bool) -> Finding:
        return self.at(
            alpha,
            f"`{alpha.name}` writes alpha as it was beside factors that hold {scale} already",
            confidence="high" if sure else "medium",
            effect="the trained scale twice: 4.00x too weak for alpha=16, rank=64",
            trace=[
                (factor, f"the factor is written times {scale}"),
                (alpha, "readers multiply by this alpha / rank once more"),
            ],
        )
