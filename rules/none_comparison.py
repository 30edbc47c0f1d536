"""LS201: the scale depends on a comparison of alpha and rank that can both be None."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.class_fields import Field
from lorascale_lint.ledger.conditions import none_there
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.entries import Ask
from lorascale_lint.ledger.families import Family, families
from lorascale_lint.ledger.kept_numbers import roles
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class NoneComparison(Rule):
    """Scale guarded by a comparison of alpha and rank that can both be None

    ## What it finds

    `if self.lora_alpha != self.lora_rank:` around the only multiplication by alpha / rank, in a class
    where both attributes start as None and nothing on the inference path sets them.

    ## Why it is wrong

    `None != None` is False, so the branch that would apply alpha / rank is skipped, silently, for
    every adapter. If only one of them is set, the division fails instead.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_A = None
            self.lora_B = None
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T
            if self.lora_alpha != self.lora_rank:
                delta = delta * (self.lora_alpha / self.lora_rank)
            return self.base_layer(x) + delta
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_A = None
            self.lora_B = None
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            \"\"\"Trained scale of the adapter: alpha / rank, 1.0 without an alpha.\"\"\"
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T
            delta = delta * self.lora_scale
            return self.base_layer(x) + delta
    ```

    ## Fix safety

    Safe: for alpha = rank both forms multiply by 1. Where the guarded statement is not a plain
    scaling, only the comparison is made None-safe.

    ## Limits

    Silent if any code writes either attribute without a condition, also from outside the class.

    ## References

    - FastVideo 0.1.6, `layers/lora/linear.py`; repaired by pull request 870
    """

    code = "LS201"
    name = "none-comparison"
    fix = "always"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Comparisons that choose the scale of an application while both sides may be None."""
        for family in families(ledger):
            alpha, rank = family.field(ALPHA), family.field(RANK)
            if alpha is None or rank is None or alpha.unset_by is None or rank.unset_by is None:
                continue
            seen = set()
            for ask in ledger.asks:
                chosen = _chosen(family, ask)
                if chosen is not None and ask.spot.node not in seen:
                    seen.add(ask.spot.node)
                    yield self._report(ledger, family, (alpha, rank), ask, chosen)

    def _report(
        self, ledger: Ledger, family: Family, sides: tuple[Field, Field], ask: Ask, chosen: Application
    ) -> Finding:
        alpha, rank = sides
        starts = [(field.unset_by.spot, field.name) for field in (rank, alpha) if field.unset_by]
        from lorascale_lint.codemods.none_safe_scale import none_safe_scale

        return self.at(
            ask.spot,
            f"the scale depends on comparing `{alpha.name}` with `{rank.name}`, which can both be None",
            effect=effect_of(ONE),
            trace=[
                *((spot, f"`{name}` starts as None here") for spot, name in starts),
                *((kept.spot, f"`{alpha.name}` is set only under a condition") for kept in alpha.conditional),
                (chosen.spot, "the delta is added at scale 1 then"),
            ],
            fix=none_safe_scale(ledger, family, ask.spot),
        )


def _chosen(family: Family, ask: Ask) -> Application | None:
    """The application whose trained scale needs alpha and rank of the object to differ."""
    signs = {"NotEq": True, "Eq": False}
    if ask.how not in signs or ask.spot.cls not in family.members or ask.other is None:
        return None
    if {ALPHA, RANK} != roles(ask.value) | roles(ask.other) or roles(ask.value) == roles(ask.other):
        return None
    if any(name in ask.atom and not is_none for name, is_none in none_there(ask.guards)):
        return None  # one of them is set
    for application in family.applications:
        for branch in application.branches:
            if trained(branch.scale) and (ask.atom, signs[ask.how]) in branch.guards:
                return application
    return None
