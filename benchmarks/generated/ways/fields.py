"""Fields of small objects."""

from __future__ import annotations

from benchmarks.generated.code import FACTORS, Block, Roles
from benchmarks.generated.ways.table import given, listed, local_names, read, way


def _annotated(block: Block, roles: Roles) -> list[str]:
    block.imports.add("import torch")
    return [
        f"    {block.project.word(role)}: {'torch.Tensor' if role in FACTORS else 'float'}" for role in roles
    ]


@way("dataclass")
def _(block: Block, roles: Roles) -> Roles:
    cls, item = block.project.name("LoRAWeights"), block.project.name("item")
    block.imports.add("from dataclasses import dataclass")
    block.define(["@dataclass", f"class {cls}:", *_annotated(block, roles)])
    block.line(f"{item} = {cls}({given(block, roles)})")
    return read(block, item, roles, "{pack}.{key}")


@way("named tuple")
def _(block: Block, roles: Roles) -> Roles:
    cls, item = block.project.name("LoRAWeights"), block.project.name("item")
    block.imports.add("from typing import NamedTuple")
    block.define([f"class {cls}(NamedTuple):", *_annotated(block, roles)])
    block.line(f"{item} = {cls}({listed(roles)})")
    return read(block, item, roles, "{pack}.{key}")


@way("namedtuple call")
def _(block: Block, roles: Roles) -> Roles:
    cls, item = block.project.name("LoRAWeights"), block.project.name("item")
    block.imports.add("from collections import namedtuple")
    fields = " ".join(block.project.word(role) for role in roles)
    block.define([f'{cls} = namedtuple("{cls}", "{fields}")'])
    block.line(f"{item} = {cls}({given(block, roles)})")
    taken = local_names(block, roles)
    block.line(f"{listed(taken)} = {item}")
    return taken


@way("object field")
def _(block: Block, roles: Roles) -> Roles:
    cls, item = block.project.name("Pack"), block.project.name("pack")
    words = {role: block.project.helper_word(role) for role in roles}
    lines = [f"class {cls}:", f"    def __init__(self, {', '.join(words.values())}):"]
    block.helper(cls, [*lines, *(f"        self.{word} = {word}" for word in words.values())])
    block.line(f"{item} = {cls}({listed(roles)})")
    return {role: f"{item}.{word}" for role, word in words.items()}


@way("SimpleNamespace")
def _(block: Block, roles: Roles) -> Roles:
    item = block.project.name("item")
    block.imports.add("from types import SimpleNamespace")
    block.line(f"{item} = SimpleNamespace({given(block, roles)})")
    return read(block, item, roles, "{pack}.{key}")


@way("setattr and getattr")
def _(block: Block, roles: Roles) -> Roles:
    item = block.project.name("holder")
    block.imports.add("from types import SimpleNamespace")
    block.line(f"{item} = SimpleNamespace()")
    for role, value in roles.items():
        block.line(f'setattr({item}, "{block.project.word(role)}", {value})')
    return read(block, item, roles, 'getattr({pack}, "{key}")')
