"""What is asked of models: adapter files of each style and naming, and their switching."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from lorascale_lint.verify.protocol import Capability, Naming
from lorascale_lint.verify.steps import (
    OTHER_RANK,
    RANK,
    Adapter,
    KeyStyle,
    Load,
    Measure,
    Merge,
    Scenario,
    Term,
    Unmerge,
    Where,
)
from lorascale_lint.verify.verdicts import Verdict

_NAMINGS: tuple[tuple[str, Naming, str], ...] = (
    ("plain names", Naming.MODEL, ""),
    ("published names", Naming.PUBLISHED, ""),
    ("original names", Naming.ORIGINAL, ""),
    ("diffusion_model. + original names", Naming.ORIGINAL, "diffusion_model."),
)


def _single(
    name: str, adapter: Adapter, *, optional: bool = False, counted: bool = True, note: str = ""
) -> Scenario:
    return Scenario(
        name=name,
        adapters=(adapter,),
        steps=(Load(adapter.name, "first"), Measure((Term(adapter.name, adapter.scale),))),
        optional=optional,
        counted=counted,
        note=note,
    )


# Conventions in which a file always states alpha. First configurations, which state the rank, too.
_ALWAYS_WITH_ALPHA = (
    KeyStyle.PEFT_FOLDER,
    KeyStyle.CONFIG_BESIDE,
    KeyStyle.FILE_METADATA,
    KeyStyle.DIFFUSERS_METADATA,
    # Their loaders are strict: a file without the buffer, which every module saves, is no adapter.
    KeyStyle.LONGCAT,
    KeyStyle.LYCORIS,
)
_STYLES = (KeyStyle.LORA_ALPHA, KeyStyle.ALPHA_SCALE, KeyStyle.ALPHA)


def model_scenarios(styles: Sequence[KeyStyle] | None, namings: Collection[Naming]) -> Iterator[Scenario]:
    def single(name: str, adapter: Adapter, *, usual: bool = True, note: str = "") -> Scenario:
        claimed = usual if styles is None else adapter.style in styles
        counted = claimed or styles is None
        return _single(name, adapter, optional=not claimed, counted=counted, note=note)

    named = [item for item in _NAMINGS if item[1] in namings]
    for style in _STYLES:
        for text, naming, prefix in named:
            adapter = Adapter("A", 4.0, style=style, naming=naming, prefix=prefix)
            yield single(f"file with {style}, {text}", adapter)
    for style in _STYLES if styles is None else styles:
        for alpha in (2.4, 0.5):
            adapter = Adapter("A", alpha, style=style)
            yield single(f"file with {style} of alpha {alpha:g}, plain names", adapter)
    usual = KeyStyle.LORA_ALPHA if styles is None else styles[0]
    if usual not in _ALWAYS_WITH_ALPHA:
        for text, naming, prefix in named[:2]:
            adapter = Adapter("A", None, style=usual, naming=naming, prefix=prefix)
            yield single(f"file without alpha, {text}", adapter)
    mixed = Adapter("A", 4.0, style=usual, per_layer=((4.0, RANK), (3.0, OTHER_RANK), (10.0, RANK)))
    yield single(f"file with {usual}, alpha and rank of every layer its own", mixed)
    for style in (KeyStyle.NAMED_ADAPTER, KeyStyle.KOHYA, KeyStyle.PEFT_FOLDER, KeyStyle.DIFFUSERS_METADATA):
        yield single(f"file with {style}", Adapter("A", 4.0, style=style), usual=False)
    for style in styles or ():
        if style in (KeyStyle.PEFT_FOLDER, KeyStyle.DIFFUSERS_METADATA):
            yield single(f"file with {style}, rsLoRA", Adapter("A", 4.0, style=style, rslora=True))
    for style in (KeyStyle.CONFIG_BESIDE, KeyStyle.FILE_METADATA):
        yield single(
            f"file with {style}",
            Adapter("A", 4.0, style=style),
            note="alpha is not among the file's tensors",
        )


def switching_scenarios(style: KeyStyle) -> Iterator[Scenario]:
    full = Adapter("A", 4.0, style=style)
    other = Adapter("B", 3.0, rank=OTHER_RANK, style=style)
    back = Measure((Term("A", full.scale), Term("B", 0.0)))
    yield Scenario(
        name="A, B, A again, by path",
        adapters=(full, other),
        steps=(Load("A", "first"), Load("B", "second"), Load("A", "first"), back),
    )
    yield Scenario(
        name="A, B, A again, by nickname",
        adapters=(full, other),
        steps=(Load("A", "first"), Load("B", "second"), Load("A", "first", cached=True), back),
        needs=frozenset({Capability.MODEL_CACHE}),
    )
    stated = style in _ALWAYS_WITH_ALPHA
    new = Adapter("B", 10.0 if stated else None, rank=OTHER_RANK, style=style)
    yield Scenario(
        name="same nickname, new file" if stated else "same nickname, new file without alpha",
        adapters=(Adapter("A", 6.0, style=style), new),
        steps=(
            Load("A", "first"),
            Load("B", "first"),
            Measure((Term("B", new.scale, stale=("A",)), Term("A", 0.0))),
        ),
    )
    partial = Adapter("B", 3.0, rank=OTHER_RANK, style=style, everywhere=False)
    yield Scenario(
        name="A on all layers, then B on some",
        adapters=(full, partial),
        steps=(
            Load("A", "first"),
            Load("B", "second"),
            Measure((Term("B", partial.scale), Term("A", 0.0)), label="layers of B", where=Where.TOUCHED),
            Measure((Term("A", 0.0),), label="other layers", where=Where.UNTOUCHED),
        ),
    )
    gone = Term("A", 0.0, leftover=Verdict.RESIDUAL_AFTER_UNMERGE)
    yield Scenario(
        name="merge, unmerge, merge",
        adapters=(full,),
        steps=(
            Load("A", "first"),
            Measure((Term("A", full.scale),), label="merged"),
            Unmerge(),
            Measure((gone,), label="unmerged"),
            Merge(),
            Measure((Term("A", full.scale),), label="merged again"),
        ),
        needs=frozenset({Capability.MODEL_MERGE}),
    )
    six = Adapter("A", 6.0, style=style)
    yield Scenario(
        name=f"file with {style}, strength .5",
        adapters=(six,),
        steps=(Load("A", "first", strength=0.5), Measure((Term("A", 0.375, strength=0.5),))),
        needs=frozenset({Capability.MODEL_STRENGTH}),
    )
    both = (Term("A", full.scale), Term("B", other.scale * 0.5, strength=0.5))
    yield Scenario(
        name="A and half of B together",
        adapters=(full, other),
        steps=(
            Load("A", "first"),
            Load("B", "second", strength=0.5, accumulate=True),
            Measure(both, label="accumulated"),
            Unmerge(),
            Merge(),
            Measure(both, label="merged again"),
        ),
        needs=frozenset({Capability.MODEL_ACCUMULATE, Capability.MODEL_STRENGTH, Capability.MODEL_MERGE}),
    )
