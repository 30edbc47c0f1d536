"""All that the core of `verify` knows about the code it examines.

Arrays cross this border as NumPy arrays (weights and factors in the layout of `torch.nn.Linear`: weight out
x in, factor A r x in, factor B out x r), so that neither side needs to know the other's framework.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.floating]


class Capability(StrEnum):
    """Something that one implementation offers and another may not."""

    LAYER_UNMERGED = "forward of a layer whose delta is not merged"
    LAYER_UNMERGE = "unmerging a layer"
    LAYER_TRAINING = "layers in training mode"
    LAYER_SETTER_ALPHA = "an alpha given together with the factors"
    LAYER_CONSTRUCTOR_ALPHA = "an alpha given when the layer is made"
    LAYER_STRENGTH = "a strength given to a layer"
    LAYER_HOST_RESIDENT = "layers whose weight lives on the CPU"
    MODEL_LOAD = "loading an adapter file into a model"
    MODEL_SWITCH = "switching to another adapter"
    MODEL_CACHE = "switching to an adapter that is loaded already"
    MODEL_MERGE = "merging and unmerging a model"
    MODEL_STRENGTH = "a strength given when an adapter is loaded"
    MODEL_ACCUMULATE = "several adapters at the same time"
    DTENSOR = "layers whose weight is sharded over ranks (DTensor)"
    TENSOR_PARALLEL = "layers of which each rank computes a part"
    MODEL_ANY_LAYER = "a model with one layer of any name and shape"


class Naming(StrEnum):
    """Which names an adapter file uses for a model's layers."""

    MODEL = "the model's own names"
    PUBLISHED = "names as published, mapped by the loader"
    ORIGINAL = "names of the original code, mapped by the loader"


class Form(StrEnum):
    """How a delta is made of its tensors. All names of tensors are those of `Layer.set_tensors`."""

    LOW_RANK = "b @ a"
    DORA = "low rank, rows of the sum normed to `magnitude`"
    HADAMARD = "(b @ a) * (b2 @ a2), as in LoHa"
    KRONECKER = "kron(w1, b @ a), as in LoKr"


class Unsupported(Exception):
    """Raised by a driver for something that the target plainly does not offer."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """A kind of layer that can carry an adapter.

    `shape` is out x in where the kind dictates it. `optional` kinds may fail to work at all (then the
    verdict is `unsupported`): they are known to be unfinished in published versions. Kinds of another
    `form` than low rank get their tensors by `Layer.set_tensors`; `rslora` kinds scale by alpha / sqrt(rank).

    Any linear map can be a kind: a convolution is one on its flattened patch (in = channels x kernel), an
    embedding one on its one-hot tokens (out = dimension, in = tokens).
    """

    name: str
    optional: bool = False
    shape: tuple[int, int] | None = None
    form: Form = Form.LOW_RANK
    rslora: bool = False


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """How a layer is made. `alpha` and `rank` are what the constructor is told (None: nothing).

    `sharded`: its weight is sharded over the ranks before it is wrapped, as FSDP2 does.
    """

    kind: str
    dtype: str = "float32"
    alpha: float | None = None
    rank: int | None = None
    training: bool = False
    host_resident: bool = False
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class ModelLayer:
    """A layer of the model that adapter files are loaded into: its name, out x in, and its name in files."""

    name: str
    shape: tuple[int, int]
    file_names: Mapping[Naming, str]


class Layer(Protocol):
    """A single layer with its adapter."""

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        """Give the layer factors (and merge them, if that is what the implementation does).

        Returns how alpha was handed over, for the reader of the report ("" if there is nothing to say).
        """

    def set_tensors(self, tensors: Mapping[str, Weights], *, alpha: float | None, strength: float) -> str:
        """As `set_factors`, for a kind of another form than low rank; other drivers need not have it."""

    def train_factors(self, a: Weights, b: Weights) -> None:
        """Overwrite the factors of a layer made with `training` as an optimizer would; nothing is merged."""

    def merge(self) -> None:
        """Merge the delta into the weight."""

    def unmerge(self) -> None:
        """Take the delta out of the weight."""

    def weight(self) -> Weights:
        """The current weight of the base layer, out x in."""

    def forward(self, x: Weights) -> Weights:
        """The layer's output for inputs `x` (n x in): n x out, bias included."""


class Model(Protocol):
    """A model that adapter files are loaded into."""

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        """Apply the adapter in `folder` under `nickname`; None: the one already loaded under that name."""

    def merge(self) -> None:
        """Merge every layer."""

    def unmerge(self) -> None:
        """Unmerge every layer."""

    def weights(self) -> Mapping[str, Weights]:
        """Layer name to current weight, out x in."""

    def layers_with_factors(self) -> Collection[str]:
        """Names of the layers that the last loads gave factors to."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What a driver found out and did while preparing the target; all of it goes into the report."""

    name: str
    version: str
    framework: str
    import_mode: str
    interventions: Sequence[str]
    stubs: Mapping[str, Sequence[str]]
    replaced_modules: Sequence[str]


@runtime_checkable
class Driver(Protocol):
    """One LoRA implementation, prepared to be examined. Lives in the child process only."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the prepared target offers."""

    @property
    def layer_kinds(self) -> Sequence[LayerKind]:
        """The kinds of layers that can be made."""

    @property
    def model_layers(self) -> Sequence[ModelLayer]:
        """The layers of the model that `make_model` makes."""

    @property
    def file_prefix(self) -> str:
        """What the loader wants before every name of a file that has no prefix of its own."""

    def facts(self) -> TargetFacts:
        """What was found, changed and stubbed so far."""

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> Layer:
        """A fresh layer with this weight (out x in) and bias (out).

        Raises Unsupported if there is no such kind.
        """

    def make_model(self, weights: Mapping[str, Weights]) -> Model:
        """A fresh model whose layers have these weights."""


@runtime_checkable
class AnyLayerDriver(Protocol):
    """What a driver with MODEL_ANY_LAYER has besides."""

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> Model:
        """A fresh model with the one layer that an adapter file calls `module`, with this weight (out x in).

        `dtype` is the type of the weight in the model.
        """


class DriverFactory(Protocol):
    """Called in the child: imports the target's code and prepares it.

    `package` is the folder that the code lies in; `import_mode` is one of the driver's modes. Any exception
    means that the target cannot be run in this mode.
    """

    def __call__(self, package: Path, import_mode: str) -> Driver:
        """Import and prepare the target."""
