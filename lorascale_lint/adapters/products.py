"""The delta of a module at scale 1, made row by row: no weight is in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.floats import Array, rounded
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.tensors import Reader, pieces, stored_tensor
from lorascale_lint.knowledge.kinds import Kind

Read = Callable[[str], Array]

# Rows of a delta that are made at a time.
_ROWS = 256


class NotMade(Exception):
    """No delta can be made of a module's tensors; says why."""


class Product(Protocol):
    """A matrix (out x in, as the weight has them) that is made from `first` row on when it is needed."""

    shape: tuple[int, int]
    terms: int  # how many products are added up for one element

    def rows(self, first: int, last: int) -> Array:
        """Rows `first` to `last` (not included)."""

    def sizes(self) -> tuple[Array, Array]:
        """u, v: the terms that are added up for element i, j are together no larger than u[i] * v[j]."""


class LowRank:
    """`b` (out x rank) times `a` (rank x in)."""

    def __init__(self, b: Array, a: Array) -> None:
        self.b = np.ascontiguousarray(b)
        self.a = np.ascontiguousarray(a)
        self.shape = (b.shape[0], a.shape[1])
        self.terms = a.shape[0]
        if b.shape[1] != self.terms:
            raise ValueError(f"B is {b.shape}, A is {a.shape}")

    def rows(self, first: int, last: int) -> Array:
        with np.errstate(all="ignore"):
            return self.b[first:last] @ self.a

    def sizes(self) -> tuple[Array, Array]:
        return np.linalg.norm(self.b, axis=1), np.linalg.norm(self.a, axis=0)

    def overlap(self, other: LowRank) -> float:
        """<BA, DC> = tr((B'D)(CA'))."""
        wide = np.float64
        return float(
            np.sum(
                (self.b.T.astype(wide) @ other.b.astype(wide))
                * (self.a.astype(wide) @ other.a.T.astype(wide))
            )
        )

    @property
    def transposed(self) -> LowRank:
        """The transpose."""
        return LowRank(self.a.T, self.b.T)


class Hadamard:
    """The elementwise product of two products (LoHa)."""

    def __init__(self, first: LowRank, second: LowRank, inner: str = "F32") -> None:
        self.factors = first, second
        self.inner = inner  # the type that both products are rounded to before they are multiplied
        self.shape = first.shape
        self.terms = first.terms + second.terms

    def rows(self, first: int, last: int) -> Array:
        left, right = (rounded(factor.rows(first, last), self.inner) for factor in self.factors)
        left *= right
        return left

    def sizes(self) -> tuple[Array, Array]:
        (u, v), (x, y) = (factor.sizes() for factor in self.factors)
        return u * x, v * y


class Kronecker:
    """`w1` (a x b) with `w2` (c x d): ac x bd (LoKr)."""

    def __init__(self, w1: Array, w2: Array) -> None:
        self.w1, self.w2 = w1, w2
        self.shape = (w1.shape[0] * w2.shape[0], w1.shape[1] * w2.shape[1])
        self.terms = 1

    def rows(self, first: int, last: int) -> Array:
        index = np.arange(first, last)
        outer, inner = np.divmod(index, self.w2.shape[0])
        blocks = self.w1[outer][:, :, None] * self.w2[inner][:, None, :]
        return blocks.reshape(len(index), -1)

    def sizes(self) -> tuple[Array, Array]:
        left, right = np.abs(self.w1).max(axis=1), np.abs(self.w2).max(axis=1)
        return np.kron(left, right), np.ones(self.shape[1], np.float32)


class Full:
    """A difference as it is."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.shape = (values.shape[0], values.shape[1])
        self.terms = 1

    def rows(self, first: int, last: int) -> Array:
        return self.values[first:last].copy()

    def sizes(self) -> tuple[Array, Array]:
        return np.abs(self.values).max(axis=1), np.ones(self.shape[1], np.float32)


def parts_of(product: Product) -> Iterator[Array]:
    """All rows of a product, some at a time."""
    for first, count in pieces(product.shape[0], _ROWS):
        yield product.rows(first, first + count)


def with_rounding(product: Product, dtype: str, inner: str) -> Product:
    """The product of factors that are rounded to a type first; `inner` is that of what they are made of."""
    if isinstance(product, Hadamard):
        first, second = product.factors
        return Hadamard(
            LowRank(rounded(first.b, dtype), rounded(first.a, dtype)),
            LowRank(rounded(second.b, dtype), rounded(second.a, dtype)),
            inner,
        )
    if dtype == "F32":
        return product
    if isinstance(product, LowRank):
        return LowRank(rounded(product.b, dtype), rounded(product.a, dtype))
    if isinstance(product, Kronecker):
        return Kronecker(rounded(product.w1, dtype), rounded(product.w2, dtype))
    return product


def make_product(module: Module, read: Read, *, transposed: bool = False) -> Product:
    """The product of a module; `read` gives a tensor of the adapter by its name.

    `transposed` is for mlx-lm, which stores A as in x rank. Raises NotMade.
    """
    keys = module.factors.keys

    def finite(key: str) -> Array:
        values = read(key)
        if not np.all(np.isfinite(values)):
            raise NotMade(f"`{key}` holds values that are not finite")
        return values

    def tensor(role: str) -> Array:
        return finite(keys[role])

    try:
        made = _fused(module, finite) if module.branches != 1 else _make(module, tensor, transposed)
    except (ValueError, IndexError) as error:
        raise NotMade(f"the factors do not fit together: {error}") from None
    if 0 in made.shape:
        raise NotMade("the delta has no elements")
    return made


def product_of(adapter: Adapter, module: Module, reader: Reader) -> Product:
    """The product of a module of a file. Raises NotMade, and InputError if the file can't be read."""
    header = adapter.source.header
    return make_product(
        module,
        lambda key: reader.whole(stored_tensor(header, key)),
        transposed=adapter.convention.transposed,
    )


def block_diagonal(blocks: Sequence[Array]) -> Array:
    """The matrix with these on its diagonal, from the upper left to the lower right."""
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    whole = np.zeros((rows, columns), np.float32)
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def _fused(module: Module, finite: Read) -> Product:
    """Branches on one another in A, each with a B of its own (LongCat)."""
    ups = module.factors.ups
    if len(ups) != module.branches:
        raise NotMade(
            f"A has {module.branches} times the rank: which rows belong to which branch is not known"
        )
    return LowRank(block_diagonal([finite(key) for key in ups]), _flat(finite(module.factors.keys["down"])))


def _make(module: Module, tensor: Read, transposed: bool) -> Product:
    has = module.factors.has
    if module.kind in (Kind.LORA, Kind.CONV, Kind.ADALORA):
        down, up = tensor("down"), tensor("up")
        if transposed:
            if down.ndim != 2 or up.ndim != 2:
                raise NotMade("factors of several experts are not replayed")
            return LowRank(up.T, down.T)
        if module.kind is Kind.ADALORA:
            down = down * tensor("lora_E")
        elif has("lora_mid"):
            down = np.einsum("jrkl,ri->jikl", tensor("lora_mid"), down.reshape(down.shape[0], -1))
        return LowRank(_flat(up), _flat(down))
    if module.kind is Kind.LOHA:
        return Hadamard(_half(tensor, 1, has("hada_t1")), _half(tensor, 2, has("hada_t2")))
    if module.kind in (Kind.LOKR, Kind.FULL_LOKR):
        return Kronecker(*(_kronecker_factor(tensor, has, number) for number in (1, 2)))
    if module.kind is Kind.FULL and has("diff"):
        return Full(_flat(tensor("diff")))
    raise NotMade(f"merges of {module.kind} are not replayed")


def _flat(values: Array) -> Array:
    return values.reshape(values.shape[0], -1)


def _half(tensor: Read, number: int, tucker: bool) -> LowRank:
    a, b = tensor(f"hada_w{number}_a"), tensor(f"hada_w{number}_b")
    if not tucker:
        return LowRank(a, b)
    core = np.einsum("ijkl,jr->irkl", tensor(f"hada_t{number}"), b)
    return LowRank(a.T, _flat(core))


def _kronecker_factor(tensor: Read, has: Callable[..., bool], number: int) -> Array:
    name = f"lokr_w{number}"
    if has(name):
        return _flat(tensor(name))
    a, b = tensor(f"{name}_a"), tensor(f"{name}_b")
    if number == 2 and has("lokr_t2"):
        return _flat(np.einsum("ijkl,ip,jr->prkl", tensor("lokr_t2"), a, b))
    return a @ _flat(b)
