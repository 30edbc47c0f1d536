"""Write a driver for a function or class that the harness could not run, filled in as far as it is known.

Nothing is imported here: parameters come from the source, what they are from their names and from what the
analysis has seen. What nobody knows is ``...`` with a comment.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.sources.modules import module_name
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Action, Role, Sketch
from lorascale_lint.verify.harness.uses import OF_LAYERS, UNUSED, uses_in

# What the functions of a driver are given (`own`), by role. An alpha that is not stated is None.
_GIVEN: Mapping[Role, str] = {
    Role.A: "a",
    Role.B: "b",
    Role.ALPHA: "alpha",
    Role.RANK: "rank",
    Role.SCALE: "(alpha / rank if alpha is not None else 1.0) * strength",
    Role.STRENGTH: "strength",
    Role.BIAS: "bias",
    Role.INPUT: "x",
    Role.IN_FEATURES: "weight.shape[1]",
    Role.OUT_FEATURES: "weight.shape[0]",
    Role.ADAPTER: '"default"',
}
_MADE = "linear(weight, bias)"
_LAYER = """
def linear(weight, bias=None):
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer.eval()
"""


@dataclass(frozen=True, slots=True)
class _Argument:
    """A parameter and the text that it is given; `unknown` says what nobody knows of it."""

    name: str
    text: str
    unknown: str = ""

    def lines(self, indent: str) -> Iterator[str]:
        comment = f"  # {self.unknown}" if self.unknown else ""
        yield f"{indent}{self.name}={self.text},{comment}"


def emit_driver(sketch: Sketch, reason: str, root: Path) -> str | None:
    """The text of a driver for the place of `sketch`; `reason` is why the harness could not run it.

    None if the function or class is not at the top of its file, where a driver could import it.
    """
    place = sketch.place
    path = root / place.file
    node = _find(ast.parse(path.read_bytes()), place.owner or place.name)
    if node is None:
        return None
    body = _of_class(node, sketch) if isinstance(node, ast.ClassDef) else _of_function(node, sketch)
    subject = (place.owner or place.name).partition(".")[0]
    helper = _LAYER if "linear(weight" in body else ""
    imports = "import torch\n" if helper else ""
    return f'''"""A driver for {place.title}.

    lorascale-lint verify {root.as_posix()} --driver verify_driver.py:{"Driver" if place.owner else "merge"}

Without it: {" ".join(reason.split()).replace(chr(34) * 3, "''") or "nothing is missing"}
Fill in each `...`. Weights are out x in, `a` is rank x in, `b` is out x rank, `alpha` is None where an
adapter states none; docs/drivers.md has the rest.
"""

{imports}from {module_name(path.resolve())} import {subject} as Theirs
{helper}
{body}'''


def _find(tree: ast.Module, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    outer, _, rest = name.partition(".")
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == outer:
            return None if rest else node
    return None


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, sketch: Sketch) -> str:
    arguments = list(_arguments(node, dict(sketch.roles), skip=0, base="weight"))
    forward = sketch.place.action is Action.FORWARD
    what = "The output of the layer" if forward else "The weight"
    given = "\n".join(line for item in arguments for line in item.lines("        "))
    always = ("x", "weight", "bias", "a", "b") if forward else ("weight", "a", "b")
    return f'''
def {"forward" if forward else "merge"}({_taken(given, always)}):
    """{what} with the delta in it."""
    return Theirs(
{given}
    )
'''


def _taken(text: str, always: Sequence[str]) -> str:
    """The parameters of a function that `text` uses; what is not taken is not asked."""
    used = [name for name in ("alpha", "rank", "strength") if re.search(rf"=.*\b{name}\b", text)]
    return ", ".join([*always, *used])


def _of_class(node: ast.ClassDef, sketch: Sketch) -> str:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    init = methods.get("__init__")
    roles = dict(sketch.roles)
    arguments = list(_arguments(init, roles, skip=1, base=_MADE)) if init else []
    given = "\n".join(line for item in arguments for line in item.lines("            "))
    fields = {role: name for name, role in roles.items()}
    taken = {item.text for item in arguments}
    setting = [
        f"        layer.{fields[role]}.data = {name}"
        if role in fields
        else f"        layer.... = {name}  # where it keeps its factor {name.upper()}"
        for role, name in ((Role.A, "a"), (Role.B, "b"))
        if name not in taken
    ]
    base = f"layer.{fields[Role.BASE]}" if Role.BASE in fields else "layer....  # where its base weight is"
    forward = "forward" if "forward" in methods else "__call__"
    inner = _taken(given, ("weight", "bias", "a", "b"))
    outer = inner.replace("bias, ", "")
    parts = [
        "class Driver:",
        f"    def _layer(self, {inner}):",
        "        layer = Theirs(",
        given,
        "        )",
        *setting,
        "        return layer",
    ]
    merge = sketch.merge or next((name for name in words.MERGE if name in methods), "")
    unmerge = sketch.unmerge or next((name for name in words.UNMERGE if name in methods), "")
    if merge:
        parts += [
            "",
            f"    def merge(self, {outer}):",
            f"        layer = self._layer({inner.replace('bias', 'None')})",
            f"        layer.{merge}()",
            f"        return {_weight(base)}",
        ]
    if unmerge and merge:
        parts += [
            "",
            f"    def unmerge(self, {outer}):",
            f"        layer = self._layer({inner.replace('bias', 'None')})",
            f"        layer.{unmerge}()",
            f"        return {_weight(base)}",
        ]
    if forward in methods:
        parts += [
            "",
            f"    def forward(self, x, {inner}):",
            f"        return self._layer({inner}).{forward}(x)",
        ]
    return "\n" + "\n".join(part for part in parts if part or part == "") + "\n"


def _weight(base: str) -> str:
    if "..." in base:
        return base
    return base if base.endswith("weight") else f"{base}.weight"


def _arguments(
    node: ast.FunctionDef | ast.AsyncFunctionDef, roles: Mapping[str, Role], *, skip: int, base: str
) -> Iterator[_Argument]:
    """What is given to each parameter that has no default, and to those whose meaning is known."""
    parameters, asked = node.args, uses_in(node)
    plain = [*parameters.posonlyargs, *parameters.args]
    optional = {item.arg for item in plain[len(plain) - len(parameters.defaults) :]}
    keywords = zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
    optional |= {item.arg for item, default in keywords if default is not None}
    for item in [*plain, *parameters.kwonlyargs][skip:]:
        annotation = ast.unparse(item.annotation) if item.annotation else ""
        role = words.role_of(item.arg) or roles.get(item.arg)
        if role is Role.BASE:
            yield _Argument(item.arg, base)
        elif role is not None and role in _GIVEN:
            yield _Argument(item.arg, _GIVEN[role])
        elif item.arg in optional:
            continue
        elif item.arg in words.HARMLESS:
            yield _Argument(item.arg, repr(words.HARMLESS[item.arg]))
        elif asked.get(item.arg, UNUSED).attributes & OF_LAYERS:
            yield _Argument(item.arg, _MADE)
        else:
            yield _Argument(
                item.arg, "...", f"nobody knows what it is{f': {annotation}' if annotation else ''}"
            )
