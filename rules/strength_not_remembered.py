"""LS240: what a strength decides is kept under a name alone, and used again for another strength."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.remembered import remembered
from lorascale_lint.ledger.stale_caches import stale_caches
from lorascale_lint.rule import Rule


class StrengthNotRemembered(Rule):
    """Cache or "already loaded" test that leaves the strength out

    ## What it finds

    A function that is given a strength, and uses it only where something is made for the first time: it asks
    whether a name is in a table, or is the one that was loaded last, and remembers that name and not the
    strength. And a field that keeps a delta, or a weight that has it, with a number of the object multiplied
    in, where a method sets that number and leaves what was kept.

    ## Why it is wrong

    The same adapter with another strength is another delta. What was made for the first strength is used for
    every later one, without a word.

    ## Effect

    The strength of the first call, in every later call with the same adapter; what is set later does nothing.

    ## Bad

    ```python
    class LoRAStore:
        def __init__(self):
            self.deltas = {}

        def get(self, name, lora_strength):
            if name not in self.deltas:
                up, down, scaling = self.read(name)
                self.deltas[name] = up @ down * scaling * lora_strength
            return self.deltas[name]
    ```

    ## Good

    ```python
    class LoRAStore:
        def __init__(self):
            self.deltas = {}

        def get(self, name, lora_strength):
            if name not in self.deltas:
                up, down, scaling = self.read(name)
                self.deltas[name] = up @ down * scaling
            return self.deltas[name] * lora_strength
    ```

    ## Fix safety

    No fix: keep what does not depend on the strength and multiply behind the look-up, or make the strength a
    part of the key (or of the test).

    ## Limits

    The test and what it remembers stand in one function. Silent where the function uses the strength anywhere
    else: in the key, on the other branch, or behind the test. Of fields: where what sets the number, or a
    method that it calls, names the field that keeps, or sets what is asked before it is filled.

    ## References

    - vllm-omni issues 1420 and 1421, lucataco/cog-flux-dev-multi-lora issue 7: a cache by adapter alone
    """

    code = "LS240"
    name = "strength-not-remembered"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Strengths that matter only the first time."""
        for found in remembered(ledger):
            yield self.at(
                found.kept,
                f"`{found.place}` remembers what was made, and not with which `{found.strength}`",
                confidence="medium",
                effect=f"the `{found.strength}` of the first call in every later one",
                trace=[
                    (found.asked, "only the name is asked for"),
                    (found.used, f"`{found.strength}` is used only where it is made for the first time"),
                    (found.kept, "and this lets the next call pass over it, whatever its strength"),
                ],
            )
        for stale in stale_caches(ledger):
            setter = stale.setter.spot
            yield self.at(
                stale.made,
                f"`{stale.field}` keeps the `{stale.number}` it was made with, and `{setter.name}` leaves it",
                effect=f"the first `{stale.number}`, whatever is set later",
                trace=[
                    (stale.made, f"made with the `{stale.number}` of the first call, and kept"),
                    (setter, f"here `{stale.number}` becomes another one, and `{stale.field}` stays"),
                ],
            )
