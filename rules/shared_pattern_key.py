"""LS226: one key, found in the union of two tables, looks up the rank and the alpha of a module."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.shared_keys import shared_keys
from lorascale_lint.rule import Rule


class SharedPatternKey(Rule):
    """Key found in the union of two tables, and looked up in both

    ## What it finds

    A function that searches the keys of a table of ranks and of a table of alphas together, takes the
    first that matches a module, and looks up both tables with it.

    ## Why it is wrong

    `rank_pattern` and `alpha_pattern` may match one module by different patterns. The first pattern that
    matches is found in one table only; the other falls back to the default of all modules.

    ## Effect

    A module with rank 8 and alpha 32 of its own gets alpha 16 of the rest: 2.00x too weak.

    ## Bad

    ```python
    def layer_numbers(lora_config, name):
        patterns = list(chain(lora_config.rank_pattern.keys(), lora_config.alpha_pattern.keys()))
        key = next((pattern for pattern in patterns if re.match(pattern, name)), name)
        rank = lora_config.rank_pattern.get(key, lora_config.r)
        alpha = lora_config.alpha_pattern.get(key, lora_config.lora_alpha)
        return alpha / rank
    ```

    ## Good

    ```python
    def layer_numbers(lora_config, name):
        rank_key = next((p for p in lora_config.rank_pattern if re.match(p, name)), name)
        alpha_key = next((p for p in lora_config.alpha_pattern if re.match(p, name)), name)
        rank = lora_config.rank_pattern.get(rank_key, lora_config.r)
        alpha = lora_config.alpha_pattern.get(alpha_key, lora_config.lora_alpha)
        return alpha / rank
    ```

    ## Fix safety

    No fix: search each table by itself and keep two keys.

    ## Limits

    Silent where a loop over the union goes on after a match, so that each table is asked for each pattern.

    ## References

    - PEFT 0.14 `LoraModel._create_and_replace`, repaired with `get_pattern_key`
    """

    code = "LS226"
    name = "shared-pattern-key"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Look-ups of an alpha by a key that may be one of the ranks."""
        for found in shared_keys(ledger):
            yield self.at(
                found.alpha,
                f"`{found.key}` is a pattern of one table, and looks up the rank and alpha in two",
                effect="rank or alpha of the other modules where the patterns differ",
                trace=[
                    (found.union, "the patterns of both tables are searched together"),
                    (found.rank, "the one that is found first looks up the rank"),
                    (found.alpha, "and alpha, which may stand under another pattern"),
                ],
            )
