"""Random weights and factors, the same for the same seed and names."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.protocol import Form
from lorascale_lint.verify.reference import product_of

Array = NDArray[np.float64]

# Rows and columns of the first factor of a Kronecker product; the first that divides the layer's shape.
_KRONECKER = (4, 2)


@dataclass(frozen=True, slots=True)
class Factors:
    """The tensors of an adapter for one layer; names as in `Layer.set_tensors`."""

    tensors: Mapping[str, Array]
    form: Form = Form.LOW_RANK

    @property
    def a(self) -> Array:
        """Factor A, rank x in."""
        return self.tensors["a"]

    @property
    def b(self) -> Array:
        """Factor B, out x rank."""
        return self.tensors["b"]

    @property
    def product(self) -> Array:
        """The delta at scale 1."""
        return product_of(self.form, self.tensors)


def generator_for(seed: int, *names: str) -> np.random.Generator:
    """Seeded by name, so that a restarted child gives a scenario the same numbers as an undisturbed run."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def random_array(generator: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Rounded to float32, so that the reference starts from the very numbers that the target gets."""
    return (generator.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)


def make_factors(generator: np.random.Generator, shape: tuple[int, int], rank: int) -> Factors:
    """Factors of a low-rank delta for a layer of out x in."""
    out_features, in_features = shape
    # B @ A then has entries of size 1, as W has: a delta that is small beside W drowns in W's rounding.
    size = rank**-0.25
    return Factors(
        {
            "a": random_array(generator, rank, in_features, scale=size),
            "b": random_array(generator, out_features, rank, scale=size),
        }
    )


def make_tensors(generator: np.random.Generator, weight: Array, rank: int, form: Form) -> Factors:
    """Tensors of a delta of any form, for a layer with this weight."""
    shape = (int(weight.shape[0]), int(weight.shape[1]))
    if form is Form.KRONECKER:
        size = next(size for size in _KRONECKER if not (shape[0] % size or shape[1] % size))
        inner = make_factors(generator, (shape[0] // size, shape[1] // size), rank)
        return Factors({**inner.tensors, "w1": random_array(generator, size, size)}, form)
    tensors = dict(make_factors(generator, shape, rank).tensors)
    if form is Form.HADAMARD:
        second = make_factors(generator, shape, rank).tensors
        tensors |= {"a2": second["a"], "b2": second["b"]}
    if form is Form.DORA:
        # Not the norms that the weight has: code that computes them anew would pass for code that reads them.
        magnitude = np.linalg.norm(weight, axis=1) + random_array(generator, shape[0], scale=0.2)
        tensors["magnitude"] = magnitude.astype(np.float32).astype(np.float64)
    return Factors(tensors, form)
