"""The numbers of one call: modules with small sizes that share no factor, and an adapter for each.

The measurement sees every layer as a matrix of out x in; `Shape` turns matrices into what the code takes and
back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.harness.description import Geometry, Role
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.inputs import generator_for, make_factors, random_array

Array = NDArray[np.float64]

ADAPTERS = ("default", "other")
RANK = 8
# Names of modules, out, and in; no number is a rank, and no two of one module have a common factor with each
# other.
_MODULES = (("blocks.0.attn.to_q", 35, 24), ("blocks.1.ffn.fc_in", 27, 44), ("blocks.1.attn.to_v", 49, 26))
# A layer that is fused has one input.
_FUSED_INPUT = 24
# In and out of layers that have one size for both; it can be shared out among five heads.
_SQUARE = 35
_KERNEL = 3
# More than any layer has inputs, so that outputs say the whole weight.
_SAMPLES = 53


@dataclass(frozen=True, slots=True)
class Shape:
    """A module as a matrix of out x in, and as the code has it."""

    name: str
    out: int
    inputs: int
    geometry: Geometry = Geometry.LINEAR

    @property
    def columns(self) -> int:
        """Of the matrix: a convolution's flattened patch."""
        return self.inputs * int(_KERNEL**self.geometry.extents)

    @property
    def fold(self) -> int:
        """How many times as many rows and columns each factor has, as in Microsoft's loralib: one side of
        the kernel; their product has its elements in the order of the weight's.
        """
        return _KERNEL if self.geometry is Geometry.FOLDED else 1

    def factors(self, generator: np.random.Generator, rank: int) -> tuple[Array, Array]:
        """A and B."""
        columns = self.inputs * self.fold if self.fold > 1 else self.columns
        made = make_factors(generator, (self.out * self.fold, columns), rank * self.fold)
        return made.a, made.b

    def native(self, role: Role, matrix: Array) -> Array:
        """A weight (out x in) or factor as a layer of this geometry keeps it."""
        if self.fold > 1 and role is not Role.BASE:
            return matrix
        if extents := self.geometry.extents:
            kernel = (1 if role is Role.B else _KERNEL,) * extents
            return matrix.reshape(matrix.shape[0], -1, *kernel)
        if self.geometry is Geometry.EMBEDDING and role is Role.BASE:
            return matrix.T
        return matrix

    def matrix(self, weight: Array) -> Array:
        """The inverse of `native` for a weight."""
        if self.geometry.extents:
            return weight.reshape(weight.shape[0], -1)
        return weight.T if self.geometry is Geometry.EMBEDDING else weight


@dataclass(frozen=True, slots=True)
class ModuleInput:
    """One module with its adapter. `alpha` None: the adapter states none."""

    shape: Shape
    weight: Array
    bias: Array
    a: Array
    b: Array
    alpha: float | None

    @property
    def rank(self) -> int:
        """Of the adapter."""
        return len(self.a) // self.shape.fold

    @property
    def product(self) -> Array:
        """The delta at scale 1, out x in."""
        product = self.b @ self.a
        return product.reshape(self.shape.out, self.shape.columns) if self.shape.fold > 1 else product

    @property
    def trained(self) -> float:
        """The trained scale; 1 where no alpha is stated."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, slots=True)
class Setting:
    """All numbers of one call."""

    modules: tuple[ModuleInput, ...]
    strength: float = 1.0
    adapter: str = ADAPTERS[0]
    seed: int = 0

    def with_alpha(self, *alphas: float | None) -> Setting:
        """Other alphas for the modules in turn."""
        changed = [replace(item, alpha=alphas[n % len(alphas)]) for n, item in enumerate(self.modules)]
        return replace(self, modules=tuple(changed))

    def with_factors(self, word: str, rank: int) -> Setting:
        """Other factors, of another adapter."""
        changed = []
        for item in self.modules:
            generator = generator_for(self.seed, "harness", word, item.shape.name)
            a, b = item.shape.factors(generator, rank)
            # One without an adapter stays so.
            changed.append(replace(item, a=a, b=b if np.any(item.b) else np.zeros_like(b)))
        return replace(self, modules=tuple(changed))

    def without_delta(self) -> Setting:
        """Factors of zeros."""
        empty = [replace(item, a=np.zeros_like(item.a), b=np.zeros_like(item.b)) for item in self.modules]
        return replace(self, modules=tuple(empty))

    def each(self) -> Sequence[Setting]:
        """One for each module."""
        return [replace(self, modules=(item,)) for item in self.modules]

    def padded(self, rank: int) -> Setting:
        """The same delta with rows and columns of zeros, and alpha grown as the rank has."""
        changed = []
        for item in self.modules:
            more = (rank - item.rank) * item.shape.fold
            alpha = None if item.alpha is None else item.alpha * rank / item.rank
            a = np.pad(item.a, ((0, more), (0, 0)))
            changed.append(replace(item, a=a, b=np.pad(item.b, ((0, 0), (0, more))), alpha=alpha))
        return replace(self, modules=tuple(changed))

    def inputs(self) -> Array:
        """What a forward is given, samples x in. An embedding is asked for all of its tokens."""
        shape = self.modules[0].shape
        if shape.geometry is Geometry.EMBEDDING:
            return np.arange(shape.inputs, dtype=np.float64)
        generator = generator_for(self.seed, "harness", "inputs")
        patch = (_KERNEL,) * shape.geometry.extents
        return random_array(generator, _SAMPLES, shape.inputs, *patch)


def make_setting(
    seed: int,
    count: int,
    geometry: Geometry,
    *,
    fused: bool = False,
    square: bool = False,
    adapted: Collection[int] | None = None,
    alpha: float | None = 4.0,
    rank: int = RANK,
) -> Setting:
    """A fresh setting for so many modules. Raises CannotBuildError if there are too many.

    Modules that are not `adapted` have a B of zeros.
    """
    if count > len(_MODULES):
        raise CannotBuildError(f"{count} modules in one call")
    modules = []
    for number, (name, *sizes) in enumerate(_MODULES[:count]):
        out, inputs = (_SQUARE, _SQUARE) if square else sizes
        shape = Shape(name, out, _FUSED_INPUT if fused and not square else inputs, geometry)
        generator = generator_for(seed, "harness", name)
        a, b = shape.factors(generator, rank)
        weight, bias = random_array(generator, out, shape.columns), random_array(generator, out)
        b = b if adapted is None or number in adapted else np.zeros_like(b)
        modules.append(ModuleInput(shape, weight, bias, a, b, alpha))
    return Setting(tuple(modules), seed=seed)
