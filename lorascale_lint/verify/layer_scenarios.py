"""What is asked of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lorascale_lint.verify.protocol import Capability, Form, LayerKind, LayerSpec
from lorascale_lint.verify.reference import trained_scale
from lorascale_lint.verify.steps import (
    OTHER_RANK,
    RANK,
    Adapter,
    Call,
    Measure,
    Merge,
    Quantity,
    Scenario,
    SetFactors,
    Step,
    Term,
    TrainFactors,
    Unmerge,
)
from lorascale_lint.verify.verdicts import Verdict


def layer_scenarios(kinds: Sequence[LayerKind], capabilities: frozenset[Capability]) -> Iterator[Scenario]:
    """Each kind at several alphas; the first one merged, unmerged, trained, and in other types of numbers."""
    setter = Capability.LAYER_SETTER_ALPHA in capabilities
    unmerged = frozenset({Capability.LAYER_UNMERGED, Capability.LAYER_UNMERGE})

    def told(kind: str, alpha: float | None, **more: object) -> LayerSpec:
        # An alpha that the setter does not take can only be told to the constructor, which then wants the
        # rank too.
        if setter or alpha is None:
            return LayerSpec(kind=kind, **more)  # type: ignore[arg-type]
        return LayerSpec(kind=kind, alpha=alpha, rank=RANK, **more)  # type: ignore[arg-type]

    def scenario(
        name: str,
        kind: LayerKind,
        alpha: float | None,
        steps: Sequence[Step],
        *,
        needs: frozenset[Capability] = frozenset(),
        counted: bool = True,
        note: str = "",
        spec: LayerSpec | None = None,
        adapters: tuple[Adapter, ...] = (),
    ) -> Scenario:
        return Scenario(
            name=name,
            steps=tuple(steps),
            adapters=adapters or (Adapter("A", alpha, rslora=kind.rslora),),
            form=kind.form,
            layer=spec or told(kind.name, alpha),
            shape=kind.shape,
            needs=needs,
            optional=kind.optional,
            counted=counted,
            note=note,
        )

    plain = [kind for kind in kinds if not kind.optional]
    for kind in plain:
        for alpha in (4.0, 2.4, 16.0, 0.5, None):
            if alpha is None and kind.rslora:
                continue
            term = (Term("A", trained_scale(alpha, RANK, rslora=kind.rslora)),)
            apply = SetFactors("A", alpha)
            text = f"{kind.name}, alpha {_number(alpha)}"
            yield scenario(f"merged, {text}", kind, alpha, [apply, Measure(term)])
            if kind is not plain[0] and alpha not in (4.0, 2.4, None):
                continue
            yield scenario(
                f"unmerged forward, {text}",
                kind,
                alpha,
                [apply, Unmerge(), Measure(term, quantity=Quantity.OUTPUT)],
                needs=unmerged,
            )
    for kind in plain:
        term = (Term("A", trained_scale(4.0, RANK, rslora=kind.rslora)),)
        gone = (Term("A", 0.0, leftover=Verdict.RESIDUAL_AFTER_UNMERGE),)
        yield scenario(
            f"merged forward, {kind.name}",
            kind,
            4.0,
            [SetFactors("A", 4.0), Measure(term, quantity=Quantity.OUTPUT)],
        )
        yield scenario(
            f"unmerge, {kind.name}",
            kind,
            4.0,
            [
                SetFactors("A", 4.0),
                Unmerge(),
                Measure(gone, label="after unmerge"),
                Merge(),
                Measure(term, label="merged again"),
            ],
            needs=frozenset({Capability.LAYER_UNMERGE}),
        )
    if plain:
        yield from _state_scenarios(plain[0], setter)
        for kind in plain[1:]:
            if kind.rslora:
                yield from _strength_scenarios(kind, setter, f", {kind.name}")
        for dtype in ("bfloat16", "float16"):
            spec = told(plain[0].name, 4.0, dtype=dtype)
            yield scenario(
                f"merged, {plain[0].name}, alpha 4, {dtype}",
                plain[0],
                4.0,
                [SetFactors("A", 4.0), Measure((Term("A", 0.5),))],
                spec=spec,
            )
            if plain[0].form is Form.LOW_RANK and not plain[0].rslora:
                small = scenario(
                    f"merged, {plain[0].name}, alpha 4, {dtype}, delta a thousandth of the weight",
                    plain[0],
                    4.0,
                    [SetFactors("A", 4.0), Measure((Term("A", 0.5),))],
                    spec=spec,
                    note="judged by the stored sums: most of such a delta is rounded away",
                )
                yield replace(small, delta_size=0.002)
        yield scenario(
            f"unmerge, {plain[0].name}, weight on the CPU",
            plain[0],
            4.0,
            [
                SetFactors("A", 4.0),
                Unmerge(),
                Measure((Term("A", 0.0, leftover=Verdict.RESIDUAL_AFTER_UNMERGE),), label="after unmerge"),
                Merge(),
                Unmerge(),
                Measure((Term("A", 0.0, leftover=Verdict.RESIDUAL_AFTER_UNMERGE),), label="after another"),
            ],
            spec=told(plain[0].name, 4.0, host_resident=True),
            needs=frozenset({Capability.LAYER_UNMERGE, Capability.LAYER_HOST_RESIDENT}),
            note="the backup of the weight may be the weight itself where nothing is on a device",
        )
        yield scenario(
            f"merged, {plain[0].name}, alpha 0",
            plain[0],
            0.0,
            [SetFactors("A", 0.0), Measure((Term("A", 0.0, leftover=Verdict.AMBIGUOUS),))],
            counted=False,
            note="alpha 0 means scale 0 to PEFT and scale 1 to kohya",
        )
    for kind in kinds:
        if kind.optional:
            yield scenario(
                f"merged, {kind.name}, alpha 4", kind, 4.0, [SetFactors("A", 4.0), Measure((Term("A", 0.5),))]
            )


def _state_scenarios(kind: LayerKind, setter: bool) -> Iterator[Scenario]:
    """Where alpha lives between calls: constructor, setter, training mode, strength."""
    adapter = (Adapter("A", 4.0),)
    term = (Term("A", 0.5),)
    trained = LayerSpec(kind=kind.name, alpha=4.0, rank=RANK, training=True)
    needs_training = frozenset({Capability.LAYER_TRAINING, Capability.LAYER_CONSTRUCTOR_ALPHA})
    yield Scenario(
        name="training mode, forward, alpha 4",
        layer=trained,
        adapters=adapter,
        steps=(TrainFactors("A"), Measure(term, quantity=Quantity.OUTPUT)),
        needs=needs_training | {Capability.LAYER_UNMERGED},
    )
    yield Scenario(
        name="training mode, forward, then merged, alpha 4",
        layer=trained,
        adapters=adapter,
        steps=(TrainFactors("A"), Call(), Merge(), Measure(term)),
        needs=needs_training,
    )
    yield Scenario(
        name="constructor alpha 4, factors set without alpha",
        layer=LayerSpec(kind=kind.name, alpha=4.0, rank=RANK),
        adapters=adapter,
        steps=(SetFactors("A", None), Measure(term)),
        needs=frozenset({Capability.LAYER_CONSTRUCTOR_ALPHA}),
        # A setter that can be told alpha, and is told none, may as well take the rank.
        counted=not setter,
        note="the rank instead of the constructor's alpha is a convention, too" if setter else "",
    )
    first, second = Adapter("A", 6.0), Adapter("B", None, rank=OTHER_RANK)
    yield Scenario(
        name="factors with alpha 6, then others without alpha",
        layer=LayerSpec(kind=kind.name),
        adapters=(first, second),
        steps=(
            SetFactors("A", 6.0),
            SetFactors("B", None),
            Measure((Term("B", 1.0, stale=("A",)), Term("A", 0.0))),
        ),
        needs=frozenset({Capability.LAYER_SETTER_ALPHA}),
    )
    yield from _strength_scenarios(kind, setter)


def _strength_scenarios(kind: LayerKind, setter: bool, more_name: str = "") -> Iterator[Scenario]:
    spec = LayerSpec(kind=kind.name) if setter else LayerSpec(kind=kind.name, alpha=6.0, rank=RANK)
    adapter = Adapter("A", 6.0, rslora=kind.rslora)
    strong = (Term("A", adapter.scale * 0.5, strength=0.5),)
    for name, steps, more in (
        ("merged, strength .5, alpha 6", (Measure(strong),), frozenset[Capability]()),
        (
            "unmerged forward, strength .5, alpha 6",
            (Unmerge(), Measure(strong, quantity=Quantity.OUTPUT)),
            frozenset({Capability.LAYER_UNMERGE, Capability.LAYER_UNMERGED}),
        ),
    ):
        yield Scenario(
            name=name + more_name,
            layer=spec,
            adapters=(adapter,),
            steps=(SetFactors("A", 6.0, strength=0.5), *steps),
            needs=more | {Capability.LAYER_STRENGTH},
        )


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"
