"""What is asked of an implementation: declarative, without any framework.

A scenario is a subject (a layer or a model), the adapters that take part, and steps. Every `Measure` gives
one row per term. Numbers are chosen so that the known mistakes give different answers: alpha is never the
rank, the second adapter has another rank, and strength .5 comes with alpha 6 (with alpha 4, leaving out
alpha and leaving out the strength would both read .5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lorascale_lint.verify.protocol import Capability, Form, LayerKind, LayerSpec, Naming
from lorascale_lint.verify.reference import trained_scale
from lorascale_lint.verify.verdicts import Row, Verdict

RANK = 8
OTHER_RANK = 4


class KeyStyle(StrEnum):
    """How an adapter file spells its factors and where it states alpha."""

    LORA_ALPHA = ".lora_alpha"
    ALPHA_SCALE = ".alpha_scale"
    ALPHA = ".alpha"
    NAMED_ADAPTER = "lora_A.default + .alpha"
    KOHYA = "lora_down/lora_up + .alpha"
    PEFT_FOLDER = "base_model.model. + adapter_config.json"
    CONFIG_BESIDE = "adapter_config.json beside plain keys"
    FILE_METADATA = "alpha in __metadata__ only"
    DIFFUSERS_METADATA = "transformer. + lora_adapter_metadata"
    KOHYA_FLAT = "lora_unet_ names, lora_down/lora_up + .alpha"
    LONGCAT = "LongCat hyphen keys + alpha_scale"
    LYCORIS = "lycoris_ names, lora_down/lora_up + .alpha"
    LOHA = "lycoris_ names, LoHa + .alpha"
    LOKR = "lycoris_ names, LoKr + .alpha"

    @property
    def form(self) -> Form:
        """How the file's tensors make a delta."""
        return {KeyStyle.LOHA: Form.HADAMARD, KeyStyle.LOKR: Form.KRONECKER}.get(self, Form.LOW_RANK)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of a scenario. `alpha` None: it states none, so its trained scale is 1.

    `everywhere` False: a file that has factors for every second layer only. `per_layer` are (alpha, rank)
    pairs that the model's layers take in turn instead of `alpha` and `rank`.
    """

    name: str
    alpha: float | None
    rank: int = RANK
    style: KeyStyle = KeyStyle.LORA_ALPHA
    naming: Naming = Naming.MODEL
    prefix: str = ""
    everywhere: bool = True
    per_layer: tuple[tuple[float, int], ...] = ()
    rslora: bool = False

    def at_layer(self, index: int) -> Adapter:
        """This adapter as the model's layer number `index` has it."""
        if not self.per_layer:
            return self
        alpha, rank = self.per_layer[index % len(self.per_layer)]
        return replace(self, alpha=alpha, rank=rank, per_layer=())

    @property
    def file_prefix(self) -> str:
        """What stands before the layers' names in the file."""
        own = {
            KeyStyle.PEFT_FOLDER: "base_model.model.",
            KeyStyle.DIFFUSERS_METADATA: "transformer.",
            KeyStyle.KOHYA_FLAT: "lora_unet_",
            KeyStyle.LONGCAT: "lora___lorahyphen___",
            KeyStyle.LYCORIS: "lycoris_",
            KeyStyle.LOHA: "lycoris_",
            KeyStyle.LOKR: "lycoris_",
        }
        return own.get(self.style, self.prefix)

    @property
    def scale(self) -> float:
        """The trained scale."""
        return trained_scale(self.alpha, self.rank, rslora=self.rslora)


@dataclass(frozen=True, slots=True)
class SetFactors:
    """Give the layer an adapter's factors; `alpha` is what is said along with them."""

    adapter: str
    alpha: float | None
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainFactors:
    """Write an adapter's factors into a layer in training mode."""

    adapter: str


@dataclass(frozen=True, slots=True)
class Load:
    """Load an adapter's file under a nickname; `cached`: by its nickname alone."""

    adapter: str
    nickname: str
    cached: bool = False
    strength: float = 1.0
    accumulate: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the subject."""


@dataclass(frozen=True, slots=True)
class Unmerge:
    """Unmerge the subject."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call the layer once and ignore its answer, an exception too: it only must not change anything."""


class Quantity(StrEnum):
    """What is looked at."""

    WEIGHT = "weight"
    OUTPUT = "output"


class Where(StrEnum):
    """Which layers of a model are looked at: the partial adapter's, the others, or all."""

    ALL = "all layers"
    TOUCHED = "layers of the second adapter"
    UNTOUCHED = "layers without the second adapter"


@dataclass(frozen=True, slots=True)
class Term:
    """The scale that an adapter must have now.

    `leftover` names what it is if 0 is expected and something is left.
    """

    adapter: str
    scale: float
    strength: float = 1.0
    leftover: Verdict = Verdict.RESIDUAL_AFTER_SWITCH
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """Look at the subject and compare every term; other adapters of the scenario must be absent."""

    terms: tuple[Term, ...]
    label: str = ""
    quantity: Quantity = Quantity.WEIGHT
    where: Where = Where.ALL


Step = SetFactors | TrainFactors | Load | Merge | Unmerge | Call | Measure


@dataclass(frozen=True, slots=True)
class Scenario:
    """One isolated question.

    `layer` is None for a question to the model. `needs` are capabilities without which it is `unsupported`.
    `optional`: an exception (layer) or a file of which no key is recognised (model) is a missing feature,
    not a wrong scale. `counted` False: shown, but never makes the run differ. `note` is shown with its rows.
    `delta_size` is that of B @ A beside the weight; a small one is judged by the stored sums. `one_file`: it
    is a cell of the matrix, where an exception is a refused file and nothing applied is an answer.
    """

    name: str
    steps: tuple[Step, ...]
    adapters: tuple[Adapter, ...]
    layer: LayerSpec | None = None
    shape: tuple[int, int] | None = None
    needs: frozenset[Capability] = field(default_factory=frozenset)
    optional: bool = False
    counted: bool = True
    note: str = ""
    form: Form = Form.LOW_RANK
    delta_size: float = 1.0
    one_file: bool = False

    @property
    def group(self) -> str:
        """ "layer", "pipeline" or "file"."""
        if self.one_file:
            return "file"
        return "pipeline" if self.layer is None else "layer"

    def adapter(self, name: str) -> Adapter:
        """The adapter of that name. Raises KeyError."""
        for adapter in self.adapters:
            if adapter.name == name:
                return adapter
        raise KeyError(name)

    def blank_rows(self) -> list[Row]:
        """The rows that this scenario will fill, in order, each still without an answer."""
        return [self.blank_row(measure, term) for measure in self.measures() for term in measure.terms]

    def measures(self) -> Iterator[Measure]:
        """Its measurements, in order."""
        return (step for step in self.steps if isinstance(step, Measure))

    def blank_row(self, measure: Measure, term: Term) -> Row:
        """The row of one term of one measurement, without an answer."""
        adapter = self.adapter(term.adapter)
        return Row(
            scenario=self.name,
            group=self.group,
            label=measure.label,
            adapter=term.adapter if len(self.adapters) > 1 else "",
            expected=term.scale,
            alpha=adapter.alpha,
            rank=adapter.rank,
            strength=term.strength,
            dtype=self.layer.dtype if self.layer else "float32",
            counted=self.counted,
            detail=self.note,
        )


def scenarios(
    layer_kinds: Sequence[LayerKind],
    capabilities: frozenset[Capability],
    styles: Sequence[KeyStyle] | None = None,
    namings: Collection[Naming] = tuple(Naming),
    *,
    dtype: str = "float32",
) -> list[Scenario]:
    """Everything that is asked, in order. Names are unique.

    `capabilities` decides only how alpha reaches a layer (with the factors where that is possible, else
    through the constructor); scenarios that need a capability which is not there are included and say so in
    `needs`. `styles` are the key styles that the target claims to read, the most usual first (None: it claims
    those with factors A and B); others are shown and never make the run differ. `namings` are those that the
    model's layers have names in. `dtype` is that of the layers.
    """
    found = [
        scenario
        if scenario.layer is None or scenario.layer.dtype != "float32"
        else replace(scenario, layer=replace(scenario.layer, dtype=dtype))
        for scenario in _layer_scenarios(layer_kinds, capabilities)
    ]
    if Capability.MODEL_LOAD in capabilities:
        found += _model_scenarios(styles, namings)
        usual = KeyStyle.LORA_ALPHA if styles is None else styles[0]
        switches = capabilities & {Capability.MODEL_CACHE, Capability.MODEL_SWITCH}
        needs = frozenset() if switches else frozenset({Capability.MODEL_SWITCH})
        for scenario in _switching_scenarios(usual):
            switching = len(scenario.adapters) > 1 and Capability.MODEL_ACCUMULATE not in scenario.needs
            found.append(replace(scenario, needs=scenario.needs | (needs if switching else frozenset())))
    return found


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"


def _layer_scenarios(kinds: Sequence[LayerKind], capabilities: frozenset[Capability]) -> Iterator[Scenario]:
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


def _model_scenarios(styles: Sequence[KeyStyle] | None, namings: Collection[Naming]) -> Iterator[Scenario]:
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


def _switching_scenarios(style: KeyStyle) -> Iterator[Scenario]:
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
