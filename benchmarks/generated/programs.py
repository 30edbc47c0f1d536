"""Programs: which choices there are, and the drawing and shrinking of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.generated.code import NAMINGS
from benchmarks.generated.products import PRODUCTS
from benchmarks.generated.readers import READERS
from benchmarks.generated.scales import TRAINED
from benchmarks.generated.stores import MODULES, SETTABLE, STORES
from benchmarks.generated.ways import WAYS

AXES: dict[str, tuple[str, ...]] = {
    "shape": (
        "function",
        "object",
        "call",
        "file",
        "file, call",
        "file, object",
        "patched",
        "hook",
        "module state",
    ),
    "kind": ("merge", "forward", "unmerge", "export"),
    "product": tuple(PRODUCTS),
    "trained": tuple(TRAINED),
    "site": (
        "late",
        "inline",
        "early",
        "computed by a helper",
        "property",
        "scale method",
        "fold B",
        "fold A",
        "split",
        "twice",
    ),
    "strength": ("none", "argument", "attribute", "carried", "in the scale", "set_scale", "twice"),
    "rank from": ("given", "a shape", "another shape"),
    "numbers": ("arguments", "config dict", "config object", "config patterns"),
    "signature": ("plain", "annotated", "defaults", "both"),
    "form": (
        "+=",
        "assigned",
        "add_",
        "add_ alpha",
        "copy_",
        "torch.add",
        "addmm_",
        "torch.addmm",
        "returned",
        "sum first",
        "accumulated",
    ),
    "placing": ("right", "left", "on B", "on A", "in place", "torch.mul"),
    "delta": (
        "inline",
        "local",
        "helper",
        "scaled helper",
        "method",
        "scaled method",
        "lambda",
        "closure",
        "partial",
    ),
    "cast": ("none", "dtype", "reshape", "type_as"),
    "input": ("x", "dropout", "cast"),
    "passing": ("positional", "keyword", "star list", "star dict", "one object", "one dict", "one tuple"),
    "branch": ("always", "one branch only", "both branches"),
    "store": tuple(STORES),
    "owner": (
        "class",
        "base class",
        "super().__init__",
        "reset method",
        "mixin",
        "registry",
        "subclass of the layer",
    ),
    "guard": ("none", "merged flag", "early return"),
    "factors": ("constructor", "setter", "made"),
    "order": ("once", "switched"),
    "sibling": ("none", "unmerge", "forward", "unscaled unmerge"),
    "reader": tuple(READERS),
    "base": ("dict entry", "submodule"),
    "parameters": ("same words", "plain words"),
    "naming": tuple(NAMINGS),
    "helpers": ("same file", "other file", "plain file", "star import", "re-export", "conditional import"),
}
"""Each axis with its values, the simplest first: shrinking goes towards it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One choice of each axis, and how values travel before and after they are kept or handed on."""

    choices: Mapping[str, str]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def told(self, used: Container[str]) -> str:
        """What is not plain among the choices that the program depends on."""
        choices = [(axis, value) for axis, value in self.choices.items() if axis in used]
        parts = [f"{axis}: {value}" for axis, value in choices if value != AXES[axis][0]]
        parts += [f"{scope}: {', '.join(ways)}" for scope, ways in _scopes(self).items() if ways]
        return "; ".join(parts)


METHOD_SITES = ("property", "scale method")
"""Where a member of the class computes the scale whenever it is asked."""
MAIN = ("shape", "kind", "product", "naming")
"""Axes of which no value is more plain than the others."""
VARIED = ("site", "strength", "store", "owner", "helpers", "reader", "sibling")
"""Axes that are seldom plain: they hold most of what hides a scale in the field."""
SHAPES = ("object",) * 3 + AXES["shape"]
"""Classes are what most LoRA code is."""


def draw(source: random.Random) -> Program:
    """A program; it may be one that nobody would write (see ``Incompatible``).

    Some programs differ from the plain one in a choice or two, some in most of them.
    """
    plain = source.choice((0.3, 0.6, 0.6, 0.85))
    choices = {}
    for axis, values in AXES.items():
        share = 0.0 if axis in MAIN else plain * (0.6 if axis in VARIED else 1.0)
        choices[axis] = values[0] if source.random() < share else source.choice(values)
    choices["shape"] = source.choice(SHAPES)
    choices |= _implied(choices, source)
    names = tuple(WAYS)
    counts = source.choice(((1, 0), (0, 1), (0, 1), (1, 1), (2, 0), (0, 2), (0, 0), (0, 0)))
    before, after = (tuple(source.choice(names) for _ in range(count)) for count in counts)
    return Program(choices, before, after)


def _implied(choices: Mapping[str, str], source: random.Random) -> dict[str, str]:
    """What other choices ask for, so that rare ones are not drawn in vain."""
    found: dict[str, str] = {}
    product = choices["product"]
    if choices["shape"] in ("patched", "hook") or not PRODUCTS[product].weight:
        found["kind"] = "forward"
    if choices["strength"] in ("attribute", "set_scale") or choices["site"] in METHOD_SITES:
        found["shape"] = source.choice(("object", "object", "file, object"))
    if choices["strength"] == "set_scale":
        found |= {"site": "early", "store": source.choice(SETTABLE)}
    if product == "module call":
        found |= {"shape": "object", "store": source.choice(MODULES)}
    if choices["naming"] == "comfy":
        found["shape"] = source.choice(("file", "file, call"))
    shape = found.get("shape", choices["shape"])
    if shape.startswith("file") and choices["numbers"] == "arguments":
        found["rank from"] = source.choice(AXES["rank from"][1:])
    if shape in ("file", "file, call") and choices["kind"] == "forward":
        found["kind"] = source.choice(("merge", "merge", "unmerge", "export"))
    if choices["numbers"] == "config patterns":
        found["shape"] = source.choice(("file", "file, call", "file, object"))
    if choices["factors"] == "made":
        found |= {"rank from": "given"}
    return found


def simpler(program: Program) -> Iterator[Program]:
    """The programs that differ by one simpler choice, boldest first."""
    for scope in ("before", "after"):
        ways = getattr(program, scope)
        for index in range(len(ways)):
            rest = (*ways[:index], *ways[index + 1 :])
            yield Program(program.choices, **{**_scopes(program), scope: rest})
    for axis, values in AXES.items():
        for value in values[: values.index(program.choices[axis])]:
            yield Program({**program.choices, axis: value}, program.before, program.after)


def _scopes(program: Program) -> dict[str, tuple[str, ...]]:
    return {"before": program.before, "after": program.after}


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """The simplest program found that still fails; ``fails`` says False for one that can't be written."""
    while True:
        for candidate in simpler(program):
            if fails(candidate):
                program = candidate
                break
        else:
            return program
