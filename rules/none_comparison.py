"""LS201: the scale depends on a comparison of alpha and rank that can both be None."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.none_safe_scale import none_safe_scale
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Op
from lorascale_lint.findings import Finding
from lorascale_lint.model import Implementation, Model
from lorascale_lint.model.applications import Application
from lorascale_lint.model.scale import ALPHA, ONE, RANK
from lorascale_lint.model.vocabulary import number_role
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

    def check(self, model: Model) -> Iterator[Finding]:
        """Comparisons that choose the scale of an application while both sides may be None."""
        for implementation in model.implementations:
            seen: set[int] = set()
            for application in implementation.applications:
                for comparison in _choosing_comparisons(application):
                    if id(comparison) not in seen and _both_may_be_none(implementation, comparison):
                        seen.add(id(comparison))
                        yield self._report(model, implementation, application, comparison)

    def _report(
        self, model: Model, implementation: Implementation, application: Application, comparison: Op
    ) -> Finding:
        function = application.function
        alpha, rank = implementation.alpha, implementation.rank
        assert alpha is not None
        assert rank is not None
        steps = [
            (write.filename, write.loc, f"`{state.name}` starts as None here")
            for state in (rank, alpha)
            for write in state.writes
            if write is state.unset_by
        ]
        steps += [
            (write.filename, write.loc, f"`{alpha.name}` is set only under a condition")
            for write in alpha.conditional_writes
        ]
        return self.finding(
            model,
            function.filename,
            comparison.loc,
            f"the scale depends on comparing `{alpha.name}` with `{rank.name}`, which can both be None",
            effect=effect_of(ONE),
            trace=[*steps, (function.filename, application.loc, "the delta is added at scale 1 then")],
            fix=none_safe_scale(model, implementation, function, comparison),
        )


def _choosing_comparisons(application: Application) -> Iterator[Op]:
    """Comparisons of alpha with rank among the conditions of a trained scale."""
    for scale, guards in application.guarded_scales:
        tests = [guard.test for guard in guards if scale.is_trained]
        for test in tests:
            compares = isinstance(test, Op) and test.sign in ("!=", "==")
            if isinstance(test, Op) and compares and {_role(test.left), _role(test.right)} == {ALPHA, RANK}:
                yield test


def _role(term: object) -> str | None:
    return number_role(term.name, True) if isinstance(term, Attr) else None


def _both_may_be_none(implementation: Implementation, comparison: Op) -> bool:
    names = {term.name for term in (comparison.left, comparison.right) if isinstance(term, Attr)}
    return all(
        state is not None and state.name in names and state.may_be_none
        for state in (implementation.alpha, implementation.rank)
    )
