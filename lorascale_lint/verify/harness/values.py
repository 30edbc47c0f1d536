"""Arguments made of a description: tensors of small sizes that share no factor, and what they are packed in.

The measurement sees every layer as a matrix of out x in; `Shape` turns matrices into what the code takes and
back.
"""

from __future__ import annotations

import copy
import importlib
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.arrays import as_float64
from lorascale_lint.verify.harness.description import Form, Geometry, Role, Value
from lorascale_lint.verify.harness.models import CannotBuildError, layer_of, model_of, with_weight
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

    def native(self, role: Role, matrix: Array) -> Array:
        """A weight (out x in) or factor as a layer of this geometry keeps it."""
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
        """Rows of A."""
        return len(self.a)

    @property
    def product(self) -> Array:
        """The delta at scale 1, out x in."""
        return self.b @ self.a

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
            made = make_factors(
                generator_for(self.seed, "harness", word, item.shape.name),
                (item.shape.out, item.shape.columns),
                rank,
            )
            # One without an adapter stays so.
            changed.append(replace(item, a=made.a, b=made.b if np.any(item.b) else np.zeros_like(made.b)))
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
            more = rank - item.rank
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
        made = make_factors(generator, (out, shape.columns), rank)
        weight, bias = random_array(generator, out, shape.columns), random_array(generator, out)
        b = made.b if adapted is None or number in adapted else np.zeros_like(made.b)
        modules.append(ModuleInput(shape, weight, bias, made.a, b, alpha))
    return Setting(tuple(modules), seed=seed)


def tensor(values: Array | float) -> Any:
    """A float32 torch tensor where the code uses torch, else a NumPy array."""
    torch = sys.modules.get("torch")
    if torch is None:
        return np.array(values, dtype=np.float32)
    return torch.from_numpy(np.array(values, dtype=np.float32))


def build(value: Value, setting: Setting) -> Any:
    """The value for this setting. Raises CannotBuildError."""
    made = _plain(value, setting)
    if value.form is Form.TENSOR and isinstance(made, (int, float)):
        made = tensor(float(made))
    if value.form is Form.MODEL:
        return _model(value, setting)
    if value.form in (Form.BATCH, Form.GRID) and hasattr(made, "reshape"):
        return made.reshape(*(1,) * (1 if value.form is Form.BATCH else 2), *made.shape)
    if value.form is Form.FILE:
        path = written(made, setting.modules[0])
        return Path(path) if value.literal == "Path" else path
    if value.form is Form.MODULE:
        geometry = setting.modules[value.modules[0]].shape.geometry
        made = _own_layer(value, made, setting) if value.parts else layer_of(made, geometry, value.role)
    if value.form is Form.BY_ADAPTER:
        made = {setting.adapter: made}
    return made


def _own_layer(value: Value, weight: Any, setting: Setting) -> Any:
    """A layer of the project's own class. Raises CannotBuildError."""
    name = value.literal.partition(":")[2]
    sizes = {part: build(replace(size, modules=value.modules), setting) for part, size in value.parts}
    try:
        made = referred(value.literal)(**sizes).eval()
        return with_weight(made, weight)
    except CannotBuildError:
        raise
    except Exception as error:  # Whatever its constructor does not like.
        raise CannotBuildError(f"a {name} cannot be made: {type(error).__name__}: {error}") from error


def _plain(value: Value, setting: Setting) -> Any:
    modules = [setting.modules[number] for number in value.modules]
    first = modules[0]
    role = value.role
    if role in (Role.BASE, Role.A, Role.B):
        field = {Role.BASE: "weight", Role.A: "a", Role.B: "b"}[role]
        native = [item.shape.native(role, getattr(item, field)) for item in modules]
        joined = np.concatenate(native) if len(native) > 1 else native[0]
        return tensor(np.swapaxes(joined, 0, 1) if value.transposed else joined)
    if role is Role.INPUT:
        return token_ids(setting) if first.shape.geometry is Geometry.EMBEDDING else tensor(setting.inputs())
    if role is Role.BASE_OUTPUT:
        inputs = setting.inputs()
        return tensor(inputs.reshape(len(inputs), -1) @ np.concatenate([item.weight for item in modules]).T)
    if role is Role.OUTPUT:
        return str(Path(tempfile.mkdtemp()) / "adapter.safetensors")
    if role is Role.BIAS:
        return tensor(np.concatenate([item.bias for item in modules]))
    if role in (Role.OBJECT, Role.TABLE, Role.LIST):
        return _composed(value, setting)
    numbers = {
        Role.ALPHA: first.alpha,
        Role.RANK: first.rank,
        Role.SCALE: first.trained,
        Role.STRENGTH: setting.strength,
        Role.IN_FEATURES: first.shape.inputs,
        Role.BOTH_FEATURES: first.shape.inputs,
        Role.OUT_FEATURES: sum(item.shape.out for item in modules),
        Role.ADAPTER: setting.adapter,
        Role.LITERAL: copy.deepcopy(value.literal),
    }
    return referred(value.literal) if role is Role.CLASS else numbers[role]


def _model(value: Value, setting: Setting) -> Any:
    """A model in which every module of the setting lies under its name."""
    layers = {}
    for number, item in enumerate(setting.modules):
        own = _plain(replace(value, form=Form.PLAIN, modules=(number,)), setting)
        layers[item.shape.name] = layer_of(own, item.shape.geometry, Role.BASE)
    return model_of(layers).eval()


def referred(reference: str) -> Any:
    """What "module:name" stands for. Raises CannotBuildError."""
    module, _, name = reference.partition(":")
    try:
        return attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise CannotBuildError(f"there is no {name} in {module}") from error


def written(tensors: dict[str, Any], module: ModuleInput | None = None) -> str:
    """The path of a new safetensors file with these tensors. The child's temporary folder goes with it.

    The numbers of `module` stand in its head, as kohya's scripts write them.
    """
    from safetensors.numpy import save_file

    told = {} if module is None or module.alpha is None else {"ss_network_alpha": f"{module.alpha:g}"}
    if module is not None:
        told["ss_network_dim"] = str(module.rank)

    path = Path(tempfile.mkdtemp()) / "adapter.safetensors"
    arrays = {key: np.ascontiguousarray(as_float64(item), np.float32) for key, item in tensors.items()}
    save_file(arrays, path, told)
    return str(path)


def token_ids(setting: Setting) -> Any:
    """All tokens, as an embedding takes them."""
    torch = sys.modules.get("torch")
    ids = setting.inputs().astype(np.int64)
    return ids if torch is None else torch.from_numpy(ids)


def _composed(value: Value, setting: Setting) -> Any:
    if value.role is Role.LIST:
        return [build(part, setting) for _, part in value.parts]
    made: dict[str, Any] = {}
    for name, part in value.parts:
        for number in range(len(setting.modules)) if "module}" in name else part.modules[:1]:
            found = build(replace(part, modules=(number,)) if "module}" in name else part, setting)
            # A file that states no alpha lacks the key; a configuration has it, and it is None.
            if found is not None or part.role is not Role.ALPHA or value.role is Role.OBJECT:
                made[fill(name, setting, number)] = found
    if value.role is Role.OBJECT and value.literal:
        name = value.literal.partition(":")[2]
        cls = referred(value.literal)
        try:
            return cls(**made)
        except Exception as error:  # Whatever its constructor does not like.
            if is_dataclass(cls):
                # What it checks of fields that have nothing to do with the scale.
                return _unchecked(cls, made)
            raise CannotBuildError(f"a {name} cannot be made: {type(error).__name__}: {error}") from error
    return made if value.role is Role.TABLE else Configuration(**made)


def _unchecked(cls: Any, given: dict[str, Any]) -> Any:
    """An object of a dataclass with its defaults, less what its `__post_init__` does."""
    made = object.__new__(cls)
    for field in fields(cls):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        object.__setattr__(made, field.name, given.get(field.name, None if default is MISSING else default))
    return made


class Configuration(SimpleNamespace):
    """An object whose fields can be had as keys as well; those that it lacks are None, as if unset."""

    def __getattr__(self, name: str) -> Any:
        # It must not pass for a tensor or a layer.
        if name.startswith("__") or name in ("shape", "detach", "weight", "parameters", "data", "copy_"):
            raise AttributeError(name)
        return None

    def __getitem__(self, name: str) -> Any:
        return self.__dict__.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        # Without it Python would ask for items 0, 1, 2 and so on, and get one each time.
        return iter(self.__dict__)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dictionary's."""
        return self.__dict__.get(name, default)


def fill(name: str, setting: Setting, number: int = 0) -> str:
    """A key or path with the names in it."""
    module = setting.modules[number].shape.name
    filled = name.replace("{module}", module).replace("{flat_module}", module.replace(".", "_"))
    return filled.replace("{adapter}", setting.adapter)


def arrays_in(found: Any, depth: int = 3) -> Iterable[Array]:
    """The arrays of an answer: itself, a layer's weight, what a tuple, list, dictionary or object holds."""
    if depth == 0 or found is None or isinstance(found, (str, bytes, bool, int, float)):
        return
    if isinstance(found, np.ndarray) or hasattr(found, "detach"):
        try:
            yield as_float64(found)
        except (TypeError, ValueError, RuntimeError):
            return
        return
    inner: Sequence[Any]
    if isinstance(found, dict):
        inner = list(found.values())
    elif isinstance(found, (list, tuple)):
        inner = found
    elif callable(getattr(found, "parameters", None)):
        inner = list(found.parameters())
    elif hasattr(found, "weight"):
        inner = [found.weight]
    else:
        inner = [item for name, item in getattr(found, "__dict__", {}).items() if not name.startswith("_")]
    for item in inner:
        yield from arrays_in(item, depth - 1)
