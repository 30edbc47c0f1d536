"""Test a project's own LoRA code: `assert_effective_scale(merge_adapter)`.

Needs NumPy; torch only if the code under test has imported it.
"""

from __future__ import annotations

import contextlib
import math
import operator
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.arrays import (
    accepts,
    as_float64,
    as_offered,
    call_by_name,
    has_default,
    poison_torch,
    rounded,
)
from lorascale_lint.verify.inputs import Factors, generator_for, make_tensors, random_array
from lorascale_lint.verify.protocol import Form
from lorascale_lint.verify.reference import (
    TOLERANCES,
    Fit,
    Rows,
    describe_parts,
    explanations,
    fit,
    fit_dora,
    judge,
    parts_by_row,
    trained_scale,
    wrong_scales,
)
from lorascale_lint.verify.verdicts import Verdict

Array = NDArray[np.float64]

_FORMS = {"lora": Form.LOW_RANK, "dora": Form.DORA, "loha": Form.HADAMARD, "lokr": Form.KRONECKER}
_SHAPES = ((72, 40), (44, 84), (96, 56))
_TENSORS = ("a", "b", "a2", "b2", "w1", "magnitude")


@dataclass(frozen=True, slots=True)
class EffectiveScale:
    """One measurement: the scale that the delta had, and what that says."""

    alpha: float | None
    rank: int
    strength: float
    dtype: str
    expected: float
    observed: float
    residual: float
    verdict: Verdict
    detail: str = ""

    def __str__(self) -> str:
        alpha = "no alpha" if self.alpha is None else f"alpha {self.alpha:g}"
        strength = "" if self.strength == 1 else f", strength {self.strength:g}"
        said = f" ({self.detail})" if self.detail else ""
        return (
            f"{alpha}, rank {self.rank}{strength}, {self.dtype}: "
            f"expected {self.expected:.5g}, observed {self.observed:.5g}: {self.verdict.value}{said}"
        )


class EffectiveScaleError(AssertionError):
    """The code does not apply the trained scale; `measurements` holds every one that was made."""

    def __init__(self, message: str, measurements: Sequence[EffectiveScale]) -> None:
        super().__init__(message)
        self.measurements = tuple(measurements)


def assert_effective_scale(
    apply: Callable[..., Any],
    *,
    form: Literal["lora", "dora", "loha", "lokr"] = "lora",
    rslora: bool = False,
    alphas: Sequence[float | None] | None = None,
    rank: int = 8,
    shape: Sequence[int] | None = None,
    dtypes: Sequence[Literal["float32", "float16", "bfloat16"]] = ("float32",),
    arrays: Literal["numpy", "torch"] | None = None,
    device: str = "cpu",
    seed: int | None = None,
) -> tuple[EffectiveScale, ...]:
    """Check that `apply` scales the delta by alpha / rank (alpha / sqrt(rank) with `rslora`).

    `apply` takes what it needs by name: `weight` (out x in), `bias`, `a` (rank x in), `b` (out x rank),
    `alpha`, `rank`, `strength`, `x` (samples x in). It gives back the merged weight; or, if it has a
    parameter `x`, the layer's output; or, if it has neither `weight` nor `x`, the delta alone. Weights
    that are changed in place need not be given back. The other forms have the tensors `magnitude` (DoRA),
    `a2` and `b2` (LoHa: (b @ a) * (b2 @ a2)), `w1` (LoKr: kron(w1, b @ a)).

    `shape` is that of the weight, out x in, or out x in x kernel for a convolution, whose factors then have
    the shapes of convolutions too (default: a random one that is not square). `alphas` are by default a few
    that tell the known mistakes apart, one no integer and one below 1, and None where `alpha` has a default.
    `dtypes` are checked one after the other. `arrays` are torch tensors by default if anything has imported
    torch, else NumPy's.

    Returns the measurements. Raises EffectiveScaleError, with the seed that repeats the numbers, if one is
    wrong, and ValueError if an alpha can't tell right from wrong, such as one that equals the rank.
    """
    # A test that fails shows its own line and the table of measurements; a mistake in here shows this code.
    __tracebackhide__ = operator.methodcaller("errisinstance", EffectiveScaleError)
    if alphas is None:
        usual = (rank / 2, int(0.3 * rank) + 0.4, 2.0 * rank, 0.5)
        asked = [alpha for alpha in dict.fromkeys(usual) if _tells_apart(alpha, rank, rslora)]
        alphas = [*asked, *([None] if _has_optional(apply, "alpha") else [])]
    elif not all(alpha is None or _tells_apart(alpha, rank, rslora) for alpha in alphas):
        raise ValueError("one of the alphas gives the same scale to right and wrong code; choose another")
    if rank < 2:
        raise ValueError("at rank 1 nobody can tell alpha / rank from alpha")
    if shape is not None and len(shape) < 2:
        raise ValueError("a weight has at least two dimensions, out x in")
    chosen = secrets.randbelow(2**31) if seed is None else seed
    cases = [(alpha, 1.0) for alpha in alphas]
    if accepts(apply, "strength"):
        cases.append((0.75 * rank, 0.5))
    if arrays == "torch":
        import torch  # noqa: F401 (what `as_offered` looks for)
    tensors = None if arrays is None else arrays == "torch"
    try:
        with _poisoned():
            found = tuple(
                _Case(apply, _FORMS[form], rslora, rank, shape, dtype, device, tensors, chosen).measure(
                    alpha, strength
                )
                for dtype in dtypes
                for alpha, strength in cases
            )
    except Exception as error:
        error.add_note(f"repeat with seed={chosen}")
        raise
    wrong = [item for item in found if item.verdict is not Verdict.OK]
    if wrong:
        lines = "\n".join(f"  {item}" for item in found)
        name = getattr(apply, "__name__", type(apply).__name__)
        raise EffectiveScaleError(
            f"{name} applies another scale than the trained one in {len(wrong)} of {len(found)} checks\n"
            f"{lines}\n  repeat with seed={chosen}",
            found,
        )
    return found


def _has_optional(apply: Callable[..., Any], name: str) -> bool:
    return accepts(apply, name) and has_default(apply, name)


def _tells_apart(alpha: float, rank: int, rslora: bool) -> bool:
    scale = trained_scale(alpha, rank, rslora=rslora)
    known = wrong_scales(alpha, rank, rslora=rslora)
    return judge(scale, scale, 0.0, TOLERANCES["bfloat16"], hypotheses=known) is Verdict.OK


@contextlib.contextmanager
def _poisoned() -> Iterator[None]:
    """Memory that the code never wrote is NaN; torch is left as it was found."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    try:
        poison_torch()
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]


@dataclass(frozen=True, slots=True)
class _Case:
    """One layer with one adapter."""

    apply: Callable[..., Any]
    form: Form
    rslora: bool
    rank: int
    wanted_shape: Sequence[int] | None
    dtype: str
    device: str
    tensors: bool | None
    seed: int

    def measure(self, alpha: float | None, strength: float) -> EffectiveScale:
        generator = generator_for(self.seed, self.dtype, f"{alpha} {strength}")
        full = tuple(self.wanted_shape or _SHAPES[int(generator.integers(len(_SHAPES)))])
        shape = (full[0], math.prod(full[1:]))
        weight = self._rounded(random_array(generator, *shape))
        bias = self._rounded(random_array(generator, shape[0]))
        made = make_tensors(generator, weight, self.rank, self.form)
        factors = Factors({name: self._rounded(value) for name, value in made.tensors.items()}, self.form)
        # DoRA's weight is read from the outputs, which takes more of them than there are inputs.
        inputs = self._rounded(
            random_array(generator, 4 * shape[1] if self.form is Form.DORA else 40, shape[1])
        )
        given = self._given(weight, full)
        offered = {name: self._given(value, full) for name, value in factors.tensors.items()} | {
            "weight": given,
            "bias": self._given(bias, full),
            "x": self._given(inputs, full),
            "alpha": alpha,
            "rank": self.rank,
            "strength": strength,
        }
        answer = call_by_name(self.apply, offered)
        found, parts = self._fit(given if answer is None else answer, weight, bias, inputs, factors)
        return self._judged(alpha, strength, found, parts)

    def _rounded(self, values: Array) -> Array:
        return rounded(values, self.dtype)

    def _given(self, values: Array, full: tuple[int, ...]) -> Any:
        """An array in the shapes of a convolution where that is asked for."""
        if len(full) > 2:
            kernel = full[2:]
            if values.ndim == 2 and values.shape[-1] == math.prod(full[1:]):
                values = values.reshape(values.shape[0], *full[1:])
            elif values.ndim == 2:
                values = values.reshape(*values.shape, *(1 for _ in kernel))
        return as_offered(values, self.dtype, device=self.device, tensors=self.tensors)

    def _fit(
        self, answer: Any, weight: Array, bias: Array, inputs: Array, factors: Factors
    ) -> tuple[Fit, tuple[Rows, ...]]:
        """The scale of the whole, and those of its rows where they differ."""
        array = as_float64(answer)
        of_outputs = accepts(self.apply, "x")
        size = (len(inputs), len(weight)) if of_outputs else weight.shape
        if array.size != math.prod(size) or array.shape[0] != size[0]:
            raise AssertionError(f"the result has shape {array.shape}, {size} was expected")
        array = array.reshape(size)
        if self.form is Form.DORA:
            if of_outputs:
                added = bias if accepts(self.apply, "bias") else np.zeros_like(bias)
                array = np.asarray(np.linalg.lstsq(inputs, array - added, rcond=None)[0].T, np.float64)
            return fit_dora(array, weight, factors.product, factors.tensors["magnitude"]), ()
        if of_outputs:
            base = inputs @ weight.T if accepts(self.apply, "weight") else 0.0
            added = bias if accepts(self.apply, "bias") else np.zeros_like(bias)
            change, product = array - base - added, inputs @ factors.product.T
            parts = parts_by_row(change.T, product.T, TOLERANCES[self.dtype])
        else:
            change, product = array - weight if accepts(self.apply, "weight") else array, factors.product
            parts = parts_by_row(change, product, TOLERANCES[self.dtype])
        return fit(change, [product]), parts

    def _judged(
        self, alpha: float | None, strength: float, found: Fit, parts: tuple[Rows, ...]
    ) -> EffectiveScale:
        expected = trained_scale(alpha, self.rank, rslora=self.rslora) * strength
        known = wrong_scales(alpha, self.rank, strength, rslora=self.rslora)
        tolerance = TOLERANCES[self.dtype]
        (observed,) = found.scales
        verdict = judge(observed, expected, found.residual, tolerance, hypotheses=known)
        detail = ""
        if verdict is Verdict.WRONG_DIRECTION and parts:
            verdict, detail = Verdict.MIXED_SCALE, describe_parts(parts)
        elif verdict is Verdict.WRONG_DIRECTION:
            detail = f"beside it a change of {found.residual:.3g} that is not the adapter's"
        elif verdict is Verdict.ERROR:
            detail = "the result is not finite"
        elif verdict is not Verdict.OK:
            others = [item.value for item in explanations(observed, tolerance, known) if item is not verdict]
            detail = f"{observed / expected:.3g}x the trained strength" + "".join(f", or {o}" for o in others)
        return EffectiveScale(
            alpha, self.rank, strength, self.dtype, expected, observed, found.residual, verdict, detail
        )
