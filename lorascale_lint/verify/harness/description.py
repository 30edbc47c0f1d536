"""What one application of a delta looks like from outside: enough to call it with made-up tensors.

Everything is plain data and goes through JSON (`as_json`, `read`), because one process finds it out and
another one runs it. Names of attributes are paths: `base_layer.weight`, `lora_A.{adapter}.weight`, where a
step is an attribute, or a key of a dictionary or list. Keys and names may hold `{module}` (a module's name,
as `blocks.0.to_q`), `{flat_module}` (with underscores for dots) and `{adapter}`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a parameter, attribute or key is."""

    BASE = "base"
    BIAS = "bias"
    A = "A"
    B = "B"
    ALPHA = "alpha"
    RANK = "rank"
    SCALE = "scale"
    STRENGTH = "strength"
    INPUT = "input"
    BASE_OUTPUT = "output of the base"
    IN_FEATURES = "in features"
    OUT_FEATURES = "out features"
    BOTH_FEATURES = "in and out features"
    ADAPTER = "adapter name"
    LITERAL = "literal"
    OBJECT = "object"
    TABLE = "table"
    OUTPUT = "file to write"
    LIST = "list"
    CLASS = "class"


class Form(StrEnum):
    """How the value of a role is packed.

    PLAIN: a tensor or a number. MODULE: a layer that holds the tensor as its weight. MODEL: a model with all
    modules under their names. TENSOR: a number as a tensor without dimensions. BY_ADAPTER: a dictionary with
    the adapter's name as its key. FILE: a table in a file, whose path is given. BATCH, GRID:
    inputs with one more dimension before them, or two; the name of an adapter for each input.
    """

    PLAIN = "plain"
    MODULE = "module"
    MODEL = "model"
    TENSOR = "tensor"
    BY_ADAPTER = "by adapter"
    FILE = "file"
    BATCH = "batch"
    GRID = "grid"


class Geometry(StrEnum):
    """What kind of layer it is; to the measurement each is a matrix of out x in."""

    LINEAR = "linear"
    CONVOLUTION = "convolution"
    EMBEDDING = "embedding"
    CONVOLUTION_1D = "convolution over one dimension"
    CONVOLUTION_3D = "convolution over three dimensions"
    FOLDED = "convolution whose kernel is in both factors"

    @property
    def extents(self) -> int:
        """Over how many dimensions a kernel goes; 0 for what is no convolution."""
        return {"CONVOLUTION": 2, "CONVOLUTION_1D": 1, "CONVOLUTION_3D": 3, "FOLDED": 2}.get(self.name, 0)


class Action(StrEnum):
    """What an application does with the delta; CONVERT: what comes out is an adapter again."""

    MERGE = "merge"
    UNMERGE = "unmerge"
    FORWARD = "forward"
    CONVERT = "convert"


ONES = "ones"


@dataclass(frozen=True, slots=True)
class Value:
    """How one value is made.

    `literal` is that of a LITERAL, a CLASS ("module:Class"), or the class of an OBJECT (None: anything with
    fields) or of a MODULE that is none of torch's, which is made of `parts`. That of a factor is ONES for a
    second pair whose product is multiplied with that of the first, number by number: all its numbers are 1.

    `transposed`: in x out instead of out x in. `modules` are the modules that it belongs to, by number; a
    base of several is fused of them, one below the other. `parts` are what an OBJECT, TABLE or LIST is made
    of, by name.
    """

    role: Role
    form: Form = Form.PLAIN
    transposed: bool = False
    literal: Any = None
    modules: tuple[int, ...] = (0,)
    parts: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A method with the arguments that it is given by name."""

    method: str
    arguments: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """An attribute that is written."""

    path: str
    value: Value


Step = Call | Assignment


@dataclass(frozen=True, slots=True)
class Place:
    """Where the code lies, and what the analysis says of it.

    `file` is relative to the folder that is verified; `name` is the qualified name of the function, method
    or class, `owner` that of the class which a method belongs to. `formula` is what the analysis says of the
    scale.
    """

    file: str
    name: str
    row: int = 0
    action: Action = Action.MERGE
    formula: str = ""
    owner: str = ""

    @property
    def title(self) -> str:
        """As it is shown."""
        return f"{self.file}:{self.row} {self.name} ({self.action})"


@dataclass(frozen=True, slots=True)
class FunctionCase:
    """A function that applies a delta. `modules` is how many layers one call treats."""

    place: Place
    arguments: tuple[tuple[str, Value], ...]
    modules: int = 1
    geometry: Geometry = Geometry.LINEAR


@dataclass(frozen=True, slots=True)
class LayerCase:
    """A class whose objects are layers.

    `base` is the path of the layer's weight ("": it has none, and gives the delta alone). `factors` put an
    adapter in, after the constructor; `start` makes a place for it before, where the constructor makes none,
    and `prepare` is called then, before a forward. `modules` is of how many
    the base is fused, `adapted` which of them have an adapter; `square` layers have as many outputs as
    inputs.
    """

    place: Place
    constructor: tuple[tuple[str, Value], ...]
    base: str
    factors: tuple[Step, ...]
    bias: str = ""
    forward: Call | None = None
    merge: Call | None = None
    unmerge: Call | None = None
    strength: Step | None = None
    start: Call | None = None
    prepare: Call | None = None
    transposed: bool = False
    geometry: Geometry = Geometry.LINEAR
    modules: int = 1
    adapted: tuple[int, ...] = (0,)
    square: bool = False


Case = FunctionCase | LayerCase


@dataclass(frozen=True, slots=True)
class Sketch:
    """An application of which only the place is known; the child finds out the rest.

    `keys` are the patterns of the keys that a function reads ("*.lora_down.weight"). Where it converts a file
    they are those of A, B and alpha of one module, letter by letter; `table` is the parameter that takes it,
    and with `states_alpha` every such file has the alpha. `merge` and `unmerge` are the methods of the class
    that do so. `roles` are those of parameters, and of attributes of the class, that the analysis has seen to
    be given such a thing. `ways` are applications whose run may come to this one, the nearest first. `rows`
    are those of all branches in which the function does so, its place's among them.
    """

    place: Place
    keys: tuple[str, ...] = ()
    merge: str = ""
    unmerge: str = ""
    roles: tuple[tuple[str, Role], ...] = ()
    table: str = ""
    states_alpha: bool = False
    ways: tuple[Sketch, ...] = ()
    rows: tuple[int, ...] = ()


Described = Case | Sketch


def as_json(cases: Sequence[Described]) -> str:
    """For `read`."""
    return json.dumps([{"kind": type(case).__name__, **asdict(case)} for case in cases])


def read(text: str) -> tuple[Described, ...]:
    """The inverse of `as_json`. Raises ValueError, KeyError, TypeError."""
    return tuple(_case(data) for data in json.loads(text))


def _case(data: dict[str, Any]) -> Described:
    kind = data.pop("kind")
    if kind == "Sketch":
        return _sketch(data)
    place = _place(data)
    geometry = Geometry(data["geometry"])
    if kind == "FunctionCase":
        return FunctionCase(place, _values(data["arguments"]), data["modules"], geometry)
    steps = {name: _step(data[name]) for name in _STEPS}
    return LayerCase(
        place=place,
        constructor=_values(data["constructor"]),
        base=data["base"],
        factors=tuple(step for item in data["factors"] if (step := _step(item))),
        bias=data["bias"],
        transposed=data["transposed"],
        geometry=geometry,
        modules=data["modules"],
        adapted=tuple(data["adapted"]),
        square=data["square"],
        **steps,  # type: ignore[arg-type]
    )


_STEPS = ("forward", "merge", "unmerge", "strength", "start", "prepare")


def _place(data: dict[str, Any]) -> Place:
    return Place(**{**data["place"], "action": Action(data["place"]["action"])})


def _sketch(data: dict[str, Any]) -> Sketch:
    return Sketch(
        place=_place(data),
        keys=tuple(data["keys"]),
        roles=tuple((name, Role(role)) for name, role in data["roles"]),
        ways=tuple(_sketch(item) for item in data["ways"]),
        rows=tuple(data.get("rows", ())),
        **{name: data[name] for name in ("merge", "unmerge", "table", "states_alpha")},
    )


def _values(items: list[list[Any]]) -> tuple[tuple[str, Value], ...]:
    return tuple((name, _value(item)) for name, item in items)


def _value(data: dict[str, Any]) -> Value:
    return Value(
        role=Role(data["role"]),
        form=Form(data["form"]),
        transposed=data["transposed"],
        literal=data["literal"],
        modules=tuple(data["modules"]),
        parts=_values(data["parts"]),
    )


def _step(data: dict[str, Any] | None) -> Step | None:
    if data is None:
        return None
    if "path" in data:
        return Assignment(data["path"], _value(data["value"]))
    return Call(data["method"], _values(data["arguments"]))
