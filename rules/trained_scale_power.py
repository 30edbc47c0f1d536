"""LS121: alpha and the rank arrive at the delta with powers that no training uses."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.excesses import excesses, intended
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unread_alphas import without_alpha
from lorascale_lint.rule import Rule


class TrainedScalePower(Rule):
    """Alpha or rank with the wrong power in an effective scale

    ## What it finds

    A merge, forward or unmerge whose scale holds alpha / rank twice, divides by the rank once too often, or
    divides by the rank and leaves alpha out, which the layer keeps or the function has for nothing; there
    also a delta that is given back and a factor that is kept. It is added up along the whole way from the
    factors to the base: in the half product and again behind it, in a helper and in its caller, in a stored
    scaling and beside it.

    ## Why it is wrong

    A LoRA is trained with alpha / rank, or with alpha / sqrt(rank) under rsLoRA. Any other power is another
    strength for every rank.

    ## Effect

    128x too weak for a rank of 128 that divides twice.

    ## Bad

    ```python
    class GatedLora:
        def __init__(self, base, lora_down, lora_up, alpha, rank):
            self.base = base
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.rank = rank
            self.scaling = alpha / rank

        def forward(self, x):
            middle = self.lora_down(x) * self.scaling
            return self.base(x) + self.lora_up(middle) * self.scaling
    ```

    ## Good

    ```python
    class GatedLora:
        def __init__(self, base, lora_down, lora_up, alpha, rank):
            self.base = base
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.rank = rank
            self.scaling = alpha / rank

        def forward(self, x):
            middle = self.lora_down(x)
            return self.base(x) + self.lora_up(middle) * self.scaling
    ```

    ## Fix safety

    No fix: which of the factors has to go is for whoever knows the other paths.

    ## Limits

    Silent where a number on the way is not known. Where one branch has a trained scale, the other is
    reported for what it has too much only, and with `--preview` only unless one number, or what was loaded,
    brings it. A learned gate between the factors is no scale.

    ## References

    - Guitaricet/my_pefty_llama: the output is divided by the rank, and multiplied by alpha / rank
    - KohakuBlueleaf/LyCORIS: GLoRA's bypass multiplies the half product and the output
    """

    code = "LS121"
    name = "trained-scale-power"
    fix = "none"
    yields_to = ("LS106", "LS107", "LS111", "LS114", "LS118")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications without a trained scale, or with a branch that has one too often."""
        for found in excesses(ledger):
            arrives = found.scale.formula()
            spot = found.application.spot
            yield self.at(
                found.brought,
                f"effective scale {arrives} in `{spot.name}`: {found.why}",
                confidence="high" if found.is_sure else "medium",
                effect=effect_of(found.scale, intended(found.scale)),
                trace=[(spot, f"here the delta arrives at scale {arrives}{found.state}")],
            )
        seen: set[int] = set()
        for spot, scale, unread in without_alpha(ledger):
            if id(spot.node) in seen or spot.file.is_test:
                continue
            seen.add(id(spot.node))
            yield self.at(
                spot,
                f"effective scale {scale.formula()} in `{spot.name}`: the rank divides, and `{unread.name}` "
                "is had for nothing",
                effect=effect_of(scale, intended(scale)),
                trace=[(unread.spot, f"`{unread.name}` comes in here, and nothing reads it")],
            )
