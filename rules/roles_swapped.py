"""LS244: alpha and rank are taken, or given, in each other's place."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, role_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renamed_settings import renamed_settings
from lorascale_lint.ledger.swapped import swapped
from lorascale_lint.rule import Rule


class RolesSwapped(Rule):
    """Alpha and rank in each other's place

    ## What it finds

    A row that is unpacked the other way round than it was made: the name for alpha gets the rank, and the
    alpha that stands beside it goes under another name, or under none. A call whose parameters for alpha and
    rank get each other's number. With `--preview`, settings for another program in which the scale of the
    old ones stands under the name of an alpha beside their rank, or their alpha under that of a scale.

    ## Why it is wrong

    Both are numbers of the same kind, so nothing complains: the layer is made with rank / alpha, or with
    alpha = rank.

    ## Effect

    At scale 1 or rank / alpha instead of alpha / rank: 4.00x too strong for alpha=64, rank=128. A scale that
    is divided by the rank once more: 128x too weak for rank=128.

    ## Bad

    ```python
    def describe(state, name):
        down = state[f"{name}.lora_down.weight"]
        return down.shape[0], float(state[f"{name}.alpha"])


    def build(state, name, linear):
        alpha, rank = describe(state, name)
        return LoraModule(linear, rank, alpha)
    ```

    ## Good

    ```python
    def describe(state, name):
        down = state[f"{name}.lora_down.weight"]
        return down.shape[0], float(state[f"{name}.alpha"])


    def build(state, name, linear):
        rank, alpha = describe(state, name)
        return LoraModule(linear, rank, alpha)
    ```

    ## Fix safety

    No fix: which side is in the wrong order is for whoever knows the other callers.

    ## Limits

    Silent where one of the two numbers is not known, and where alpha also goes to its own name. Of
    settings, silent unless both numbers come from one table and go on as they are.

    ## References

    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r
    """

    code = "LS244"
    name = "roles-swapped"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Rows and calls that exchange alpha and the rank."""
        for found in swapped(ledger):
            how = "is given" if found.is_call else "takes"
            yield self.at(
                found.spot,
                f"`{found.name}` {how} the rank in `{found.spot.name}`, and `{found.other}` the alpha",
                effect="scale 1 or rank / alpha instead of alpha / rank: "
                "4.00x too strong for alpha=64, rank=128",
                trace=[(found.spot, f"`{found.name}` gets what `{found.other}` should have")],
            )
        for renamed in renamed_settings(ledger):
            write, is_scale = renamed.write, role_of(renamed.new, True) == ALPHA
            yield self.at(
                write.spot,
                f"`{renamed.old}` of the settings is written as `{renamed.new}` beside the same rank",
                confidence="medium",
                effect="1 / rank of the scale" if is_scale else "rank times the scale",
                trace=[(write.spot, "a scale is alpha / rank: one is not the other")],
            )
