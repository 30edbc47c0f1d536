"""Ways that values are kept in an object: written by its constructor or setter, read by another method."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.generated.code import FACTORS, Block, Incompatible, Roles

Store = Callable[[Block, Roles], Roles]
STORES: dict[str, Store] = {}
"""Each takes the setter's block and expressions, and gives the expressions for the other methods."""

LOOPED = ("list of adapters", "dict of adapters")
"""Stores that are read by a loop: ``loop_header`` opens it in each method."""

SETTABLE = ("attributes", "class attributes", "setattr", "parameters", "register_parameter")
"""Stores that keep a number in a plain attribute."""
MODULES = ("linear modules", "ModuleDict", "ModuleList", "Sequential")
"""Stores that keep the factors as weights of modules."""


def store(name: str) -> Callable[[Store], Store]:
    """Enter a function under the name that the table of results shows."""

    def entered(function: Store) -> Store:
        STORES[name] = function
        return function

    return entered


def _members(block: Block) -> list[str]:
    assert block.cls is not None, "stores are written in classes"
    return block.cls


def _words(block: Block, roles: Roles) -> dict[str, str]:
    return {role: block.project.word(role) for role in roles}


def _attributes(block: Block, roles: Roles) -> Roles:
    for role, word in _words(block, roles).items():
        block.line(f"self.{word} = {roles[role]}")
    return {role: f"self.{word}" for role, word in _words(block, roles).items()}


STORES["attributes"] = _attributes


def _tensors(roles: Roles) -> Roles:
    return {role: value for role, value in roles.items() if role in FACTORS}


def _numbers(roles: Roles) -> Roles:
    return {role: value for role, value in roles.items() if role not in FACTORS}


@store("class attributes")
def _(block: Block, roles: Roles) -> Roles:
    for role, word in _words(block, roles).items():
        default = "None" if role in FACTORS or block.project.late_setter else "1.0"
        _members(block).append(f"    {word} = {default}")
    return _attributes(block, roles)


@store("properties")
def _(block: Block, roles: Roles) -> Roles:
    for role, word in _words(block, roles).items():
        block.line(f"self._{word} = {roles[role]}")
        _members(block).extend(
            ["", "    @property", f"    def {word}(self):", f"        return self._{word}"]
        )
    return {role: f"self.{word}" for role, word in _words(block, roles).items()}


@store("tuple attribute")
def _(block: Block, roles: Roles) -> Roles:
    block.line(f"self.weights = ({', '.join(roles.values())})")
    return {role: f"self.weights[{index}]" for index, role in enumerate(roles)}


@store("list attribute")
def _(block: Block, roles: Roles) -> Roles:
    block.line("self.weights = []")
    for value in roles.values():
        block.line(f"self.weights.append({value})")
    return {role: f"self.weights[{index}]" for index, role in enumerate(roles)}


@store("dict attribute")
def _(block: Block, roles: Roles) -> Roles:
    words = _words(block, roles)
    block.line(f"self.lora = {{{', '.join(f'{chr(34)}{words[r]}{chr(34)}: {v}' for r, v in roles.items())}}}")
    return {role: f'self.lora["{word}"]' for role, word in words.items()}


@store("dict updated")
def _(block: Block, roles: Roles) -> Roles:
    words = _words(block, roles)
    block.line("self.lora = {}")
    block.line(f"self.lora.update({', '.join(f'{words[r]}={v}' for r, v in roles.items())})")
    return {role: f'self.lora["{word}"]' for role, word in words.items()}


def _annotated(block: Block, roles: Roles) -> list[str]:
    block.imports.add("import torch")
    words = _words(block, roles)
    return [f"    {word}: {'torch.Tensor' if r in FACTORS else 'float'}" for r, word in words.items()]


@store("dataclass attribute")
def _(block: Block, roles: Roles) -> Roles:
    cls = block.project.name("LoRAWeights")
    block.imports.add("from dataclasses import dataclass")
    block.define(["@dataclass", f"class {cls}:", *_annotated(block, roles)])
    block.line(f"self.lora = {cls}({', '.join(roles.values())})")
    return {role: f"self.lora.{word}" for role, word in _words(block, roles).items()}


@store("named tuple attribute")
def _(block: Block, roles: Roles) -> Roles:
    cls = block.project.name("LoRAWeights")
    block.imports.add("from typing import NamedTuple")
    block.define([f"class {cls}(NamedTuple):", *_annotated(block, roles)])
    block.line(f"self.lora = {cls}({', '.join(roles.values())})")
    return {role: f"self.lora.{word}" for role, word in _words(block, roles).items()}


@store("object attribute")
def _(block: Block, roles: Roles) -> Roles:
    cls = block.project.name("Pack")
    words = {role: block.project.helper_word(role) for role in roles}
    block.helper(
        cls,
        [
            f"class {cls}:",
            f"    def __init__(self, {', '.join(words.values())}):",
            *(f"        self.{word} = {word}" for word in words.values()),
        ],
    )
    block.line(f"self.pack = {cls}({', '.join(f'{words[r]}={v}' for r, v in roles.items())})")
    return {role: f"self.pack.{word}" for role, word in words.items()}


@store("setattr")
def _(block: Block, roles: Roles) -> Roles:
    for role, word in _words(block, roles).items():
        block.line(f'setattr(self, "{word}", {roles[role]})')
    return {role: f"self.{word}" for role, word in _words(block, roles).items()}


@store("setattr in a loop")
def _(block: Block, roles: Roles) -> Roles:
    words = _words(block, roles)
    entries = ", ".join(f'"{words[role]}": {value}' for role, value in roles.items())
    block.line(f"for name, value in {{{entries}}}.items():\n    setattr(self, name, value)")
    return {role: f"self.{word}" for role, word in words.items()}


@store("setattr, getattr")
def _(block: Block, roles: Roles) -> Roles:
    words = _words(block, roles)
    for role, word in words.items():
        block.line(f'setattr(self, f"{{self.adapter}}_{word}", {roles[role]})')
    return {role: f'getattr(self, f"{{self.adapter}}_{word}")' for role, word in words.items()}


@store("register_buffer")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("import torch")
    words = _words(block, roles)
    for role, value in roles.items():
        tensor = value if role in FACTORS else f"torch.tensor(float({value}))"
        block.line(f'self.register_buffer("{words[role]}", {tensor})')
    return {role: f"self.{word}" for role, word in words.items()}


@store("register_parameter")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    words = _words(block, roles)
    for role, value in _tensors(roles).items():
        block.line(f'self.register_parameter("{words[role]}", nn.Parameter({value}))')
    taken = {role: f"self.{words[role]}" for role in _tensors(roles)}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("parameters")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    words = _words(block, roles)
    for role, value in _tensors(roles).items():
        block.line(f"self.{words[role]} = nn.Parameter({value})")
    taken = {role: f"self.{words[role]}" for role in _tensors(roles)}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("ParameterDict")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    words = _words(block, roles)
    entries = ", ".join(f'"{words[role]}": nn.Parameter({value})' for role, value in _tensors(roles).items())
    block.line(f"self.factors = nn.ParameterDict({{{entries}}})")
    taken = {role: f'self.factors["{words[role]}"]' for role in _tensors(roles)}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("ParameterList")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    values = ", ".join(f"nn.Parameter({value})" for value in _tensors(roles).values())
    block.line(f"self.factors = nn.ParameterList([{values}])")
    taken = {role: f"self.factors[{index}]" for index, role in enumerate(_tensors(roles))}
    return {**taken, **_attributes(block, _numbers(roles))}


def _linear(block: Block, roles: Roles) -> tuple[str, str, str, str]:
    """The constructors of two modules, and the values of their weights."""
    if block.project.layout != "lora":
        raise Incompatible("modules for other factors")
    if "zeros" in roles["A"]:
        rank = roles["A"].removeprefix("torch.zeros(").partition(",")[0]
        down = f"nn.Linear(base_layer.in_features, {rank}, bias=False)"
        return down, f"nn.Linear({rank}, base_layer.out_features, bias=False)", "", ""
    block.imports.add("from torch import nn")
    a, b = roles["A"], roles["B"]
    return (
        f"nn.Linear({a}.shape[1], {a}.shape[0], bias=False)",
        f"nn.Linear({b}.shape[1], {b}.shape[0], bias=False)",
        a,
        b,
    )


def _fill(block: Block, place: str, value: str) -> None:
    if value:
        block.line(f"{place}.weight.data.copy_({value})")


@store("linear modules")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    down, up, a, b = _linear(block, roles)
    words = _words(block, roles)
    block.line(f"self.{words['A']} = {down}")
    block.line(f"self.{words['B']} = {up}")
    _fill(block, f"self.{words['A']}", a)
    _fill(block, f"self.{words['B']}", b)
    taken = {"A": f"self.{words['A']}.weight", "B": f"self.{words['B']}.weight"}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("ModuleDict")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    down, up, a, b = _linear(block, roles)
    words = _words(block, roles)
    block.line(f'self.lora = nn.ModuleDict({{"{words["A"]}": {down}, "{words["B"]}": {up}}})')
    places = {role: f'self.lora["{words[role]}"]' for role in ("A", "B")}
    _fill(block, places["A"], a)
    _fill(block, places["B"], b)
    taken = {role: f"{place}.weight" for role, place in places.items()}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("ModuleList")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    down, up, a, b = _linear(block, roles)
    block.line(f"self.lora = nn.ModuleList([{down}, {up}])")
    _fill(block, "self.lora[0]", a)
    _fill(block, "self.lora[1]", b)
    taken = {"A": "self.lora[0].weight", "B": "self.lora[1].weight"}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("Sequential")
def _(block: Block, roles: Roles) -> Roles:
    block.imports.add("from torch import nn")
    down, up, a, b = _linear(block, roles)
    block.line(f"self.branch = nn.Sequential({down}, {up})")
    _fill(block, "self.branch[0]", a)
    _fill(block, "self.branch[1]", b)
    taken = {"A": "self.branch[0].weight", "B": "self.branch[1].weight"}
    return {**taken, **_attributes(block, _numbers(roles))}


@store("dict by adapter")
def _(block: Block, roles: Roles) -> Roles:
    words = _words(block, roles)
    for role, word in words.items():
        block.line(f"self.{word} = {{}}")
        block.line(f"self.{word}[self.adapter] = {roles[role]}")
    return {role: f"self.{word}[self.adapter]" for role, word in words.items()}


@store("list of adapters")
def _(block: Block, roles: Roles) -> Roles:
    block.line("self.adapters = []")
    block.line(f"self.adapters.append(({', '.join(roles.values())}))")
    return {role: block.project.word(role) for role in roles}


@store("dict of adapters")
def _(block: Block, roles: Roles) -> Roles:
    block.line("self.adapters = {}")
    block.line(f"self.adapters[self.adapter] = ({', '.join(roles.values())})")
    return {role: block.project.word(role) for role in roles}


def loop_header(name: str, roles: Roles) -> str:
    """What opens the loop in which a looped store is read."""
    listed = ", ".join(roles.values())
    return f"for {listed} in self.adapters{'.values()' if name == 'dict of adapters' else ''}:"
