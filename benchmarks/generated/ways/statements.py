"""Statements that bind or guard."""

from __future__ import annotations

from benchmarks.generated.code import FACTORS, Block, Incompatible, Roles
from benchmarks.generated.ways.table import entries, listed, local_names, read, way


@way("match of a sequence")
def _(block: Block, roles: Roles) -> Roles:
    pack, taken = block.project.name("weights"), local_names(block, roles)
    block.line(f"{pack} = ({listed(roles)})")
    block.line(
        f"match {pack}:\n    case ({listed(taken)}):\n        pass\n"
        f'    case _:\n        raise ValueError("not an adapter")'
    )
    return taken


@way("match of a mapping")
def _(block: Block, roles: Roles) -> Roles:
    pack, taken = block.project.name("entry"), local_names(block, roles)
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    block.nest(f"match {pack}:")
    block.nest(f"case {{{entries(block, taken)}}}:")
    return taken


@way("walrus")
def _(block: Block, roles: Roles) -> Roles:
    pack, first = block.project.name("entry"), next(iter(roles))
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    block.nest(f'if ({block.local(first)} := {pack}.get("{block.project.word(first)}")) is not None:')
    return {**read(block, pack, roles), first: block.local(first)}


@way("guard for None")
def _(block: Block, roles: Roles) -> Roles:
    tensors = [value for role, value in roles.items() if role in FACTORS]
    if any("(" in value for value in tensors):
        raise Incompatible("a call in a guard")
    block.nest(f"if {tensors[0]} is not None and {tensors[1]} is not None:")
    return roles


@way("device and dtype")
def _(block: Block, roles: Roles) -> Roles:
    taken = {role: f"{block.local(role)}" for role in roles if role in FACTORS}
    block.imports.add("import torch")
    for role, name in taken.items():
        block.line(f'{name} = {roles[role]}.to(device="cpu", dtype=torch.float64)')
    return {**roles, **taken}
