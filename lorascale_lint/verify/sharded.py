"""What is asked of layers that several ranks share (`verify --distributed`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorascale_lint.verify.protocol import Capability, LayerKind, LayerSpec
from lorascale_lint.verify.steps import (
    RANK,
    Adapter,
    Measure,
    Merge,
    Quantity,
    Scenario,
    SetFactors,
    Step,
    Term,
    Unmerge,
)
from lorascale_lint.verify.verdicts import Verdict

# Out x in, divisible by 2, 3, 4, 6 and 8 ranks; neither is the other, or a rank.
_SHAPE = (96, 48)
_ALPHAS = (4.0, 2.4)


def sharded_scenarios(
    kinds: Sequence[LayerKind], capabilities: frozenset[Capability], *, dtype: str = "float32"
) -> list[Scenario]:
    """Questions to a layer whose weight is sharded, then to layers that are tensor parallel.

    The driver's first kind is the one that gets sharded, the others are those that can be parallel. Every
    rank is given the same numbers and has to come to the right answer.
    """
    setter = Capability.LAYER_SETTER_ALPHA in capabilities
    found: list[Scenario] = []
    for sharded in (True, False):
        for kind in kinds[:1] if sharded else kinds[1:]:
            found += _of_kind(kind, setter, sharded, dtype)
    return found


def _of_kind(kind: LayerKind, setter: bool, sharded: bool, dtype: str) -> Iterator[Scenario]:
    how = "sharded weight" if sharded else "tensor parallel"
    needs = frozenset({Capability.DTENSOR if sharded else Capability.TENSOR_PARALLEL})

    def scenario(
        name: str, alpha: float, *steps: Step, more: frozenset[Capability] = frozenset()
    ) -> Scenario:
        told = {} if setter else {"alpha": alpha, "rank": RANK}
        return Scenario(
            name=f"{name}, {kind.name}, {how}, alpha {alpha:g}",
            layer=LayerSpec(kind=kind.name, dtype=dtype, sharded=sharded, **told),  # type: ignore[arg-type]
            adapters=(Adapter("A", alpha),),
            steps=(SetFactors("A", alpha), *steps),
            shape=kind.shape or _SHAPE,
            needs=needs | more,
            optional=kind.optional,
        )

    for alpha in _ALPHAS:
        yield scenario("merged", alpha, Measure((Term("A", alpha / RANK),)))
    if kind.optional:
        return
    right = (Term("A", _ALPHAS[0] / RANK),)
    gone = Measure((Term("A", 0.0, leftover=Verdict.RESIDUAL_AFTER_UNMERGE),), label="after unmerge")
    unmerge = frozenset({Capability.LAYER_UNMERGE})
    yield scenario(
        "unmerge", _ALPHAS[0], Unmerge(), gone, Merge(), Measure(right, label="merged again"), more=unmerge
    )
    # A forward may leave a sharded weight gathered, so nothing is asked after it.
    yield scenario("merged forward", _ALPHAS[0], Measure(right, quantity=Quantity.OUTPUT))
    yield scenario(
        "unmerged forward",
        _ALPHAS[0],
        Unmerge(),
        Measure(right, quantity=Quantity.OUTPUT),
        more=unmerge | {Capability.LAYER_UNMERGED},
    )
