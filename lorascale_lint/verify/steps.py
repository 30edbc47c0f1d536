"""What a scenario is made of: a subject, adapters, and steps, without any framework.

Every `Measure` gives one row per term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lorascale_lint.verify.protocol import Capability, Form, LayerSpec, Naming
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
