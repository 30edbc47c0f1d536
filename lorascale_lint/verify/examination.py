"""Put one scenario to a prepared target and judge every measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.adapter_files import write_adapter
from lorascale_lint.verify.answers import (
    Array,
    FileRefusedError,
    TargetMisbehavedError,
    checked,
    joined,
    one_line,
    passed_through,
)
from lorascale_lint.verify.arrays import rounded
from lorascale_lint.verify.inputs import Factors, generator_for, make_tensors, random_array
from lorascale_lint.verify.judging import Reading, judge_term
from lorascale_lint.verify.protocol import (
    Driver,
    Form,
    Layer,
    LayerSpec,
    Model,
    ModelLayer,
    Unsupported,
)
from lorascale_lint.verify.reference import (
    TOLERANCES,
    Fit,
    Rows,
    fit,
    fit_dora,
    nearest_scale,
    parts_by_row,
)
from lorascale_lint.verify.steps import (
    Call,
    Load,
    Measure,
    Merge,
    Quantity,
    Scenario,
    SetFactors,
    TrainFactors,
    Unmerge,
    Where,
)
from lorascale_lint.verify.verdicts import Row, Verdict

Emit = Callable[[Row], None]

# Out x in. No two numbers are equal, none is a rank, so that a transposed or mixed-up factor cannot fit by
# accident.
_LAYER_SHAPES = ((72, 40), (44, 84), (96, 56))
_SAMPLES = 7
# Outputs in half precision are rounded so coarsely that the mean of few of them is no measurement.
_HALF_SAMPLES = 40


def examine(scenario: Scenario, driver: Driver, seed: int, folder: Path, emit: Emit) -> None:
    """Run one scenario and hand every row to `emit` as soon as it is known.

    `folder` is an empty place for adapter files. An exception of the target's becomes the verdict of the
    rows that it kept from being measured; only KeyboardInterrupt and SystemExit of this program pass.
    """
    waiting = scenario.blank_rows()
    if scenario.one_file and scenario.optional:
        emit = _excusing_the_unclaimed(emit)

    def deliver(row: Row) -> None:
        waiting.pop(0)
        emit(row)

    missing = sorted(need.value for need in scenario.needs - driver.capabilities)
    if missing:
        _deliver_all(waiting, emit, Verdict.UNSUPPORTED, f"not offered by this version: {', '.join(missing)}")
        return
    try:
        subject = _LayerSubject if scenario.layer else _ModelSubject
        subject(scenario, driver, seed, folder).run(deliver)
    except Unsupported as reason:
        _deliver_all(waiting, emit, Verdict.UNSUPPORTED, str(reason))
    except FileRefusedError as reason:
        _deliver_all(waiting, emit, Verdict.LOAD_ERROR, str(reason))
    except Exception as error:  # Whatever the target raises is a result.
        if not (isinstance(error, TargetMisbehavedError) or passed_through(driver, error)):
            _deliver_all(waiting, emit, Verdict.NOT_MEASURED, f"verify itself failed: {one_line(error)}")
            return
        verdict = Verdict.UNSUPPORTED if scenario.optional else Verdict.CRASHED
        _deliver_all(waiting, emit, verdict, one_line(error))


def _excusing_the_unclaimed(emit: Emit) -> Emit:
    """A loader may refuse, or take nothing of, a file that it doesn't claim to read."""
    excused = (Verdict.LOAD_ERROR, Verdict.NOT_APPLIED)
    return lambda row: emit(replace(row, counted=row.counted and row.verdict not in excused))


def _deliver_all(waiting: list[Row], emit: Emit, verdict: Verdict, detail: str) -> None:
    for row in waiting:
        emit(replace(row, verdict=verdict, detail=joined(detail, row.detail)))


class _LayerSubject:
    """A single layer under examination."""

    def __init__(self, scenario: Scenario, driver: Driver, seed: int, folder: Path) -> None:
        assert scenario.layer is not None
        self.scenario = scenario
        self.spec: LayerSpec = scenario.layer
        self.driver = driver
        generator = generator_for(seed, scenario.name)
        self.shape = scenario.shape or _LAYER_SHAPES[int(generator.integers(len(_LAYER_SHAPES)))]
        self.weight = self._random(generator, *self.shape)
        self.bias = self._random(generator, self.shape[0])
        # DoRA's weight is read from the outputs, which takes more of them than there are inputs.
        samples = _SAMPLES if self.spec.dtype == "float32" else _HALF_SAMPLES
        if scenario.form is Form.DORA:
            samples = 4 * self.shape[1]
        self.inputs = self._random(generator, samples, self.shape[1])
        self.factors = {}
        for adapter in scenario.adapters:
            made = make_tensors(generator, self.weight, adapter.rank, scenario.form)
            sized = {**made.tensors, "b": made.tensors["b"] * scenario.delta_size}
            tensors = {name: rounded(values, self.spec.dtype) for name, values in sized.items()}
            self.factors[adapter.name] = Factors(tensors, scenario.form)

    def _random(self, generator: np.random.Generator, *shape: int) -> Array:
        return rounded(random_array(generator, *shape), self.spec.dtype)

    def run(self, deliver: Emit) -> None:
        layer = self.driver.make_layer(self.spec, self.weight, self.bias)
        if self.spec.dtype != "float32":
            # The base that the delta is added to is the rounded weight, so the reference starts from it.
            self.weight = np.asarray(layer.weight(), dtype=np.float64).copy()
        notes: list[str] = []
        for step in self.scenario.steps:
            if isinstance(step, Measure):
                gone = all(term.scale == 0 for term in step.terms)
                reading = self._read(layer, step.quantity, gone=gone)
                for term in step.terms:
                    deliver(judge_term(self.scenario, step, term, [reading], joined(*notes)))
            else:
                note = self._do(layer, step)
                if note and note not in notes:
                    notes.append(note)

    def _do(self, layer: Layer, step: object) -> str:
        if isinstance(step, SetFactors):
            factors = self.factors[step.adapter]
            if self.scenario.form is not Form.LOW_RANK:
                return layer.set_tensors(factors.tensors, alpha=step.alpha, strength=step.strength)
            return layer.set_factors(factors.a, factors.b, alpha=step.alpha, strength=step.strength)
        if isinstance(step, TrainFactors):
            factors = self.factors[step.adapter]
            layer.train_factors(factors.a, factors.b)
        elif isinstance(step, Merge):
            layer.merge()
        elif isinstance(step, Unmerge):
            layer.unmerge()
        elif isinstance(step, Call):
            try:
                layer.forward(self.inputs)
            except Exception as error:  # Only its effect on the state is looked at here.
                return f"forward raised {one_line(error)}"
        else:
            raise TypeError(f"a layer knows no step {step!r}")
        return ""

    def _read(self, layer: Layer, quantity: Quantity, *, gone: bool) -> Reading:
        """What the layer does now; `gone`: nothing of any adapter shall be left."""
        if self.scenario.form is Form.DORA and not gone:
            return self._read_dora(layer, quantity)
        products = [factors.product for factors in self.factors.values()]
        if quantity is Quantity.WEIGHT:
            change = checked(layer.weight(), self.shape) - self.weight
        else:
            output = checked(layer.forward(self.inputs), (len(self.inputs), self.shape[0]))
            change = output - (self.inputs @ self.weight.T + self.bias)
            products = [self.inputs @ product.T for product in products]
        found = fit(change, products)
        parts: tuple[Rows, ...] = ()
        if len(products) == 1:
            by_row = (change, products[0]) if quantity is Quantity.WEIGHT else (change.T, products[0].T)
            parts = parts_by_row(*by_row, TOLERANCES[self.spec.dtype])
        scales = dict(zip(self.factors, found.scales, strict=True))
        reading = Reading("", self.shape, scales, residual=found.residual, parts=parts)
        if self.scenario.delta_size < 1 and quantity is Quantity.WEIGHT and not gone:
            after, dtype = change + self.weight, self.spec.dtype
            if not np.array_equal(after, rounded(after, dtype)):
                # Nothing was rounded away: the target keeps its weight in another type.
                return reading
            return replace(
                reading,
                stored=lambda known: nearest_scale(
                    after, self.weight, products[0], known, lambda values: rounded(values, dtype)
                ),
            )
        return reading

    def _read_dora(self, layer: Layer, quantity: Quantity) -> Reading:
        ((name, factors),) = self.factors.items()
        if quantity is Quantity.WEIGHT:
            after = checked(layer.weight(), self.shape)
        else:
            output = checked(layer.forward(self.inputs), (len(self.inputs), self.shape[0]))
            after = np.asarray(np.linalg.lstsq(self.inputs, output - self.bias, rcond=None)[0].T, np.float64)
        found = fit_dora(after, self.weight, factors.product, factors.tensors["magnitude"])
        return Reading("", self.shape, {name: found.scales[0]}, residual=found.residual)


class _ModelSubject:
    """A model under examination: real adapter files, several layers."""

    def __init__(self, scenario: Scenario, driver: Driver, seed: int, folder: Path) -> None:
        self.scenario = scenario
        self.driver = driver
        self.layers: dict[str, ModelLayer] = {layer.name: layer for layer in driver.model_layers}
        self.weights = {
            name: random_array(generator_for(seed, scenario.name, name), *layer.shape)
            for name, layer in self.layers.items()
        }
        self.factors: dict[str, dict[str, Factors]] = {}
        self.folders: dict[str, Path] = {}
        self.indices = {name: index for index, name in enumerate(self.layers)}
        for adapter in scenario.adapters:
            chosen = list(self.layers.values())[:: 1 if adapter.everywhere else 2]
            here = {layer.name: adapter.at_layer(self.indices[layer.name]) for layer in chosen}
            made = {
                layer.name: make_tensors(
                    generator_for(seed, scenario.name, adapter.name, layer.name),
                    self.weights[layer.name],
                    here[layer.name].rank,
                    adapter.style.form,
                )
                for layer in chosen
            }
            self.factors[adapter.name] = made
            before = "" if adapter.file_prefix else driver.file_prefix
            file_names = {
                layer.name: before + layer.file_names.get(adapter.naming, layer.name) for layer in chosen
            }
            self.folders[adapter.name] = write_adapter(
                folder / f"adapter_{adapter.name}",
                adapter,
                {file_names[name]: factors.tensors for name, factors in made.items()},
                {file_names[name]: layer_adapter for name, layer_adapter in here.items()},
            )

    def run(self, deliver: Emit) -> None:
        model = self.driver.make_model(self.weights)
        for step in self.scenario.steps:
            if isinstance(step, Load):
                self._load(model, step)
            elif isinstance(step, Merge):
                model.merge()
            elif isinstance(step, Unmerge):
                model.unmerge()
            elif isinstance(step, Measure):
                self._measure(model, step, deliver)
            else:
                raise TypeError(f"a model knows no step {step!r}")

    def _load(self, model: Model, step: Load) -> None:
        try:
            model.load(
                step.nickname,
                None if step.cached else self.folders[step.adapter],
                strength=step.strength,
                accumulate=step.accumulate,
            )
        except Unsupported:
            raise
        except Exception as error:  # Whatever the target raises is a result.
            if self.scenario.one_file and passed_through(self.driver, error):
                raise FileRefusedError(one_line(error)) from error
            raise

    def _measure(self, model: Model, measure: Measure, deliver: Emit) -> None:
        now = model.weights()
        changed = any(not np.array_equal(np.asarray(now[name]), self.weights[name]) for name in self.layers)
        recognised = changed or model.layers_with_factors()
        if self.scenario.optional and not self.scenario.one_file and not recognised:
            raise Unsupported("the loader recognises none of the file's keys; nothing was applied")
        readings = list(self._readings(now, measure.where))
        for term in measure.terms:
            deliver(judge_term(self.scenario, measure, term, readings, ""))

    def _readings(self, now: Mapping[str, NDArray[np.floating]], where: Where) -> Iterator[Reading]:
        last = self.scenario.adapters[-1]
        for name, layer in self.layers.items():
            touched = name in self.factors[last.name]
            if (where is Where.TOUCHED and not touched) or (where is Where.UNTOUCHED and touched):
                continue
            present = {key: factors[name] for key, factors in self.factors.items() if name in factors}
            change = checked(now[name], layer.shape) - self.weights[name]
            found: Fit = fit(change, [factors.product for factors in present.values()])
            only = next(iter(present.values())).product if len(present) == 1 else None
            parts = () if only is None else parts_by_row(change, only, TOLERANCES["float32"])
            yield Reading(
                name,
                layer.shape,
                dict(zip(present, found.scales, strict=True)),
                residual=found.residual,
                index=self.indices[name],
                parts=parts,
            )
