"""Arguments made of a description and the numbers of a setting: tensors, and what they are packed in."""

from __future__ import annotations

import copy
import importlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lorascale_lint.verify.arrays import as_float64
from lorascale_lint.verify.harness import frameworks
from lorascale_lint.verify.harness.description import ONES, Form, Geometry, Role, Value
from lorascale_lint.verify.harness.models import CannotBuildError, layer_of, model_of, with_weight
from lorascale_lint.verify.harness.settings import Array, ModuleInput, Setting


def tensor(values: Array | float) -> Any:
    """A float32 array of the framework that the code uses: a tensor of torch's, an array of NumPy's."""
    return frameworks.array(np.array(values, dtype=np.float32))


def build(value: Value, setting: Setting) -> Any:
    """The value for this setting. Raises CannotBuildError."""
    made = _plain(value, setting)
    if value.form is Form.TENSOR and isinstance(made, (int, float)):
        made = tensor(float(made))
    if value.form is Form.MODEL:
        return _model(value, setting)
    if value.role is Role.ADAPTER and value.form is Form.BATCH:
        return [made] * len(setting.inputs())
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
        if isinstance(value.literal, str) and ":" in value.literal and value.role is not Role.OBJECT:
            made = referred(value.literal)(made)
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
        matrices = [getattr(item, field) for item in modules]
        if value.literal == ONES:
            matrices = [_of_ones(item, role) for item in matrices]
        native = [item.shape.native(role, matrix) for item, matrix in zip(modules, matrices, strict=True)]
        joined = np.concatenate(native) if len(native) > 1 else native[0]
        return tensor(np.swapaxes(joined, 0, 1) if value.transposed else joined)
    if role is Role.INPUT:
        return token_ids(setting) if first.shape.geometry is Geometry.EMBEDDING else tensor(setting.inputs())
    if role is Role.BASE_OUTPUT:
        return tensor(_base_output(setting, np.concatenate([item.weight for item in modules])))
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


def _base_output(setting: Setting, weight: Array) -> Array:
    """What a layer without adapter makes of the inputs, as it gives it back."""
    inputs, geometry = setting.inputs(), setting.modules[0].shape.geometry
    if geometry is Geometry.EMBEDDING:
        return np.ascontiguousarray(weight.T)
    found = inputs.reshape(len(inputs), -1) @ weight.T
    return found.reshape(*found.shape, *(1,) * geometry.extents)


def _of_ones(factor: Array, role: Role) -> Array:
    """The like of a factor; the product of two of these has ones everywhere."""
    made = np.zeros_like(factor)
    if role is Role.A:
        made[0] = 1
    else:
        made[:, 0] = 1
    return made


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
    return frameworks.array(setting.inputs().astype(np.int64))


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
    if frameworks.is_array(found):
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
