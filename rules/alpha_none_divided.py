"""LS241: an alpha that is None by default is divided by the rank without a question."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.none_divided import none_divided
from lorascale_lint.rule import Rule


class AlphaNoneDivided(Rule):
    """Alpha that may be None and is divided by the rank

    ## What it finds

    A parameter for alpha that is None by default, and is divided by the rank on a way that never asks for
    None; of high confidence if a call in sight leaves it out. Also the alpha of a module that is taken from
    a file with `get`, without a default, and divided in a function that never looks whether there is one.

    ## Why it is wrong

    None says that nobody stated an alpha, and readers of LoRA files mean the rank by that: scale 1. Here it
    ends the program with a TypeError, for the default of the function itself, or for a file without alpha.

    ## Effect

    `TypeError: unsupported operand type(s) for /: 'NoneType' and 'int'`.

    ## Bad

    ```python
    class LoraLinear:
        def __init__(self, base, rank, lora_alpha=None):
            self.base = base
            self.scaling = lora_alpha / rank


    def wrap(base, rank):
        return LoraLinear(base, rank)
    ```

    ## Good

    ```python
    class LoraLinear:
        def __init__(self, base, rank, lora_alpha=None):
            self.base = base
            self.scaling = 1.0 if lora_alpha is None else lora_alpha / rank


    def wrap(base, rank):
        return LoraLinear(base, rank)
    ```

    ## Fix safety

    No fix: whether a missing alpha means the rank (`alpha = rank if alpha is None else alpha`) is for whoever
    knows the files and the callers.

    ## Limits

    Silent where every call in sight gives an alpha.

    ## References

    - kohya-ss/sd-scripts, `networks/lora.py`: the rank stands in where alpha is None or 0
    """

    code = "LS241"
    name = "alpha-none-divided"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Divisions of what may be None."""
        for found in none_divided(ledger):
            call = [] if found.call is None else [(found.call, "this call leaves it out")]
            yield self.at(
                found.divided.spot,
                f"`{found.name}` may be None here, and is divided by the rank",
                confidence="medium" if found.call is None else "high",
                effect="TypeError where no alpha is stated, instead of the scale 1",
                trace=[
                    (found.since, "None, where nobody gives one"),
                    *call,
                    (found.divided.spot, "nothing has asked for None on the way here"),
                ],
            )
