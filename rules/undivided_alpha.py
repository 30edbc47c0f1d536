"""LS107: raw alpha is multiplied onto the delta and never divided by the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.raw_alphas import RawAlpha, raw_alphas
from lorascale_lint.ledger.renamed_numbers import alphas_as_scale
from lorascale_lint.ledger.round_trips import tail_of
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.rule import Rule


class UndividedAlpha(Rule):
    """Alpha multiplied onto a delta without dividing by the rank

    ## What it finds

    A delta multiplied by a real alpha and by nothing else of the trained scale: the `alpha` of a
    constructor that takes the rank too, the `.alpha` of an adapter file, or an alpha that the rank stands in
    for, where nothing in the class or function divides by the rank. Also `self.scaling = lora_alpha`, and one
    method at alpha beside another at alpha / rank, one branch of
    an rsLoRA flag at alpha beside a divided one, and a file's alpha that is kept in a tuple, table or
    record with its factors and multiplies their product where they are used; and a file's alpha that a loader
    multiplies onto one of the factors that it keeps. And an alpha that is saved under a name such as `scale`
    with the factors of layers that divide it, and multiplies their product as it is where it is read again.

    ## Why it is wrong

    Alpha belongs to a rank: the trained update is `alpha / r * B A x`. Without the division the update is
    r times too strong, changes with the rank, and no adapter trained elsewhere fits.

    ## Effect

    128.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALayer:
        def __init__(self, lora_A, lora_B, rank, alpha):
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.rank = rank
            self.alpha = alpha

        def forward(self, x):
            return self.alpha * (x @ self.lora_A @ self.lora_B)
    ```

    ## Good

    ```python
    class LoRALayer:
        def __init__(self, lora_A, lora_B, rank, alpha):
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.rank = rank
            self.alpha = alpha

        def forward(self, x):
            return self.alpha / self.rank * (x @ self.lora_A @ self.lora_B)
    ```

    ## Fix safety

    Unsafe: for a rank other than 1 every result changes, and adapters trained with the raw alpha need
    alpha * rank in its place; say so in the release notes. No fix where the rank is not at hand.

    ## Limits

    Silent where the value is called with a quotient or a literal up to 1, or has such a default (a plain
    strength then), where the class has no rank, and where a rank divides the delta on another way. Of factors
    that are kept, where the other side is scaled as well, or alpha is written beside them.

    ## References

    - Hu et al., LoRA, section 4.1
    - rasbt/LLMs-from-scratch pull request 1080
    - deepbeepmeep/mmgp commit f261ed2d: the alpha of a list of factors is divided by the rank
    """

    code = "LS107"
    name = "undivided-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Deltas whose whole scale is alpha, where alpha is shown to be a real one."""
        for found in raw_alphas(ledger):
            if found.spot.file.is_test:
                continue
            last = "alpha reaches the delta undivided here"
            if found.step is None:
                last = "what deltas are multiplied by is set to it here"
            from lorascale_lint.codemods.divide_by_rank import divide_by_rank

            yield self.at(
                found.spot,
                _message(found),
                effect=effect_of(Scale.of(ALPHA)),
                trace=[found.witness, (found.spot, last)],
                fix=None if found.other_branch else divide_by_rank(ledger, found),  # rsLoRA's needs a root
            )
        for renamed in alphas_as_scale(ledger):
            key = tail_of(renamed.written.key)
            yield self.at(
                renamed.written.spot,
                f"alpha is saved as `{key}`, which `{renamed.read.spot.name}` takes for the whole scale",
                effect=effect_of(Scale.of(ALPHA)),
                trace=[
                    (renamed.trained, "the factors saved beside it are trained at alpha / rank"),
                    (renamed.written.spot, f"what is saved as `{key}` is alpha"),
                    (renamed.used, "and it multiplies the delta as it is"),
                ],
            )


def _message(found: RawAlpha) -> str:
    if found.step is not None:
        return f"delta multiplied by `{found.text}`, which is never divided by the rank"
    name = found.stored.field if isinstance(found.stored, Store) else found.stored and found.stored.name
    return f"`{name}` is `{found.text}`, which is never divided by the rank"
