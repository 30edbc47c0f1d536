"""LS111: the scale is rank / alpha, upside down."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.swap_quotient import swap_quotient
from lorascale_lint.facts.terms import Loc, Op, Term, each_term, source_text
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale_definitions import (
    ScaleDefinition,
    is_divisor,
    rank_over_alpha,
    scale_definitions,
)
from lorascale_lint.model.values import Delta, Through
from lorascale_lint.rule import Rule


class InvertedScale(Rule):
    """Scale computed as rank / alpha

    ## What it finds

    `rank / alpha` stored as a layer's scale, returned by the method that gives it, or multiplied onto a
    delta, where the trained scale is `alpha / rank`.

    ## Why it is wrong

    The adapter was trained as `y = W x + (alpha / r) * B A x`. The inverse is right only for alpha = r;
    everywhere else it is wrong by the square of the scale.

    ## Effect

    4.00x too strong for alpha=64, rank=128; 4.00x too weak for alpha=32, rank=16.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_rank / lora_alpha

        def forward(self, x):
            return self.base_layer(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_alpha / lora_rank

        def forward(self, x):
            return self.base_layer(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)
    ```

    ## Fix safety

    Safe: both quotients are 1 for alpha = rank. Adapters that were trained with the inverse need
    `alpha = rank ** 2 / alpha` in their files.

    ## Limits

    Silent where anything in the file divides by the value, and where a factor is scaled in a function that
    writes an alpha of its own: the new factor is then divided by the new scale on purpose.

    ## References

    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r
    """

    code = "LS111"
    name = "inverted-scale"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Definitions of a scale that are a rank divided by an alpha."""
        reported: set[tuple[str, Loc]] = set()
        for found in scale_definitions(model):
            for term in found.quotients:
                place = (found.function.filename, term.loc)
                if place in reported or not rank_over_alpha(model, found.function, term):
                    continue
                if _is_meant(model, found, term):
                    continue
                reported.add(place)
                yield self._report(model, found, term)

    def _report(self, model: Model, found: ScaleDefinition, term: Term) -> Finding:
        assert isinstance(term, Op)
        filename = found.function.filename
        use = (
            f"`{found.name}` is what deltas are multiplied by"
            if found.name
            else "a delta is multiplied by it"
        )
        return self.finding(
            model,
            filename,
            term.loc,
            f"scale is `{source_text(term)}` in `{found.function.facts.qualname}`, which is rank / alpha",
            event=found.event,
            effect="4.00x too strong for alpha=64, rank=128",
            trace=[
                (filename, term.left.loc, f"`{source_text(term.left)}` is the rank"),
                (filename, term.right.loc, f"`{source_text(term.right)}` is alpha"),
                (filename, found.loc, use),
            ],
            fix=swap_quotient(model, filename, term.loc),
        )


def _is_meant(model: Model, found: ScaleDefinition, term: Term) -> bool:
    """Is the inverse divided by again, or does it undo a scale that the function writes down?"""
    function = found.function
    if is_divisor(model, function.filename, found.name, term):
        return True
    if found.name:
        return False
    return _writes_alpha(function) and not _reaches_delta(model, function, term)


def _writes_alpha(function: Function) -> bool:
    return any(use.how == "write" and use.role == "alpha" for use in key_traffic(function).uses)


def _reaches_delta(model: Model, function: Function, quotient: Term) -> bool:
    """Is the quotient multiplied onto an activation or a product of both factors?"""
    frame = model.evaluator.frame(function)
    for _, term in each_term(function.events("write", "bind", "return")):
        if not (isinstance(term, Op) and term.sign == "*"):
            continue
        for scalar, other in ((term.left, term.right), (term.right, term.left)):
            while isinstance(scalar, Op) and scalar.sign == "*" and scalar.right is not quotient:
                scalar = scalar.left  # `strength * (rank / alpha) * delta`
            multiplied = scalar is quotient or (isinstance(scalar, Op) and scalar.right is quotient)
            if multiplied and any(
                isinstance(a.value, Delta | Through) for a in model.evaluator.values(other, frame)
            ):
                return True
    return False
