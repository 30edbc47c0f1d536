"""LS113: one branch, method or class scales the delta, and its sibling does not."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding, Repair
from lorascale_lint.ledger.compositions import PastComposition, past_compositions
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.one_sided import OneSided, one_sided, scalar_at
from lorascale_lint.ledger.one_sided_writes import one_sided_writes
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class ScaleOnOneBranch(Rule):
    """Trained scale on one branch only

    ## What it finds

    A delta that is multiplied by the trained scale where a condition holds and not where it does not
    (gated or not, one module kind or the next); a method that returns the bare product beside one that
    scales it, or beside one that scales what it is given and is told to apply 1; a delta that one branch
    gives to such a method and the other adds as it is; a class that inherits the scale which its sibling
    applies, and never uses it. Of a converter that folds alpha into the factors that it writes, the branch
    that writes them as they are.

    ## Why it is wrong

    The condition says something about the layer, and nothing about the training: the same adapter is
    applied at two strengths.

    ## Effect

    2.00x too strong for alpha=64, rank=128, on one of the branches.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha, use_gating):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_alpha / lora_rank
            self.use_gating = use_gating

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T
            if self.use_gating:
                delta = delta * self.gate(x) * self.scaling
            return self.base_layer(x) + delta
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha, use_gating):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_alpha / lora_rank
            self.use_gating = use_gating

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T
            if self.use_gating:
                delta = delta * self.gate(x) * self.scaling
            else:
                delta = delta * self.scaling
            return self.base_layer(x) + delta
    ```

    ## Fix safety

    Safe: for alpha = rank the scale is 1. Unsafe where a norm is taken of the delta, too: each use of it is
    scaled then. An adapter that was trained by way of the branch without the scale needs alpha = rank in
    its file. No fix where the branch can't name the scale (a local of the other one), where the delta leaves
    on a way that is not followed, or in an `elif` chain.

    ## Limits

    Silent where the condition itself speaks of alpha, rank, a scale, merging or a file format, or is an
    argument of the caller; where anything on the way is not understood; and where LS101 or LS102 speak
    of the same sum.

    ## References

    - adapter-hub/adapters pull request 770: the forward scaled only with a gate
    """

    code = "LS113"
    name = "scale-on-one-branch"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Unscaled deltas with a scaled sibling, and those that go past what composes them at the scale."""
        for found in one_sided(ledger):
            yield self.at(
                found.spot,
                found.text,
                confidence=found.confidence,
                effect=effect_of(ONE),
                trace=found.trace,
                fix=_repair(ledger, found),
            )
        for apart in one_sided_writes(ledger):
            yield self.at(
                apart.bare.spot,
                f"`{apart.bare.spot.name}` writes a factor without its alpha, which another branch folds in",
                effect=effect_of(ONE),
                trace=[
                    (apart.scaled.spot, "alpha / rank is multiplied into the factor here"),
                    (apart.bare.spot, "and here it is written as it was read, with no alpha beside it"),
                ],
            )
        for past in past_compositions(ledger):
            fix = _composed(ledger, past) if past.scalar else None
            yield self.at(past.spot, past.text, effect=effect_of(ONE), trace=past.trace, fix=fix)


def _repair(ledger: Ledger, found: OneSided) -> Repair | None:
    scalars = [scalar_at(ledger, found, end) for end in found.ends]
    texts = [scalar for scalar in scalars if scalar is not None]
    if len(texts) != len(scalars):
        return None
    if found.branch is None:
        places = [(end.spot, end.delta, text) for end, text in zip(found.ends, texts, strict=True)]
        from lorascale_lint.codemods.scale_places import scale_places

        return scale_places(ledger, places, "safe", _message(texts[0]))
    from lorascale_lint.codemods.scale_other_branch import OtherBranch

    other = OtherBranch(*found.branch, found.step.spot, texts[0])
    from lorascale_lint.codemods.scale_other_branch import scale_other_branch

    return scale_other_branch(ledger, found.spot, other, "safe")


def _composed(ledger: Ledger, past: PastComposition) -> Repair | None:
    if past.branch is not None:
        from lorascale_lint.codemods.scale_other_branch import OtherBranch, scale_other_branch

        return scale_other_branch(ledger, past.spot, OtherBranch(*past.branch, None, past.scalar), "safe")
    if past.ends:
        places = [(end.spot, end.delta, past.scalar) for end in past.ends]
        from lorascale_lint.codemods.scale_places import scale_places

        return scale_places(ledger, places, "safe", _message(past.scalar))
    if not past.given:
        return None
    from lorascale_lint.codemods.scale_places import scale_places

    return scale_places(ledger, past.given, "unsafe", _message(past.given[0][2]))


def _message(scalar: str) -> str:
    return f"Multiply by `{scalar.strip('()')}` here, too"
