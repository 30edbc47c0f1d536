"""Tuples, lists and loops over them."""

from __future__ import annotations

from benchmarks.generated.code import FACTORS, Block, Roles
from benchmarks.generated.ways.table import listed, local_names, way


@way("tuple slots")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("weights")
    block.line(f"{pack} = ({listed(roles)})")
    return {role: f"{pack}[{index}]" for index, role in enumerate(roles)}


@way("tuple unpacked")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("weights")
    block.line(f"{pack} = {listed(roles)}")
    taken = local_names(block, roles)
    block.line(f"{listed(taken)} = {pack}")
    return taken


@way("starred unpacking")
def _(block: Block, roles: Roles) -> Roles:
    pack, rest = block.project.name("weights"), block.project.name("rest")
    block.line(f"{pack} = ({listed(roles)})")
    first, *others = roles
    block.line(f"{block.local(first)}, *{rest} = {pack}")
    return {first: block.local(first), **{role: f"{rest}[{index}]" for index, role in enumerate(others)}}


@way("list slots")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("parts")
    block.line(f"{pack} = [{listed(roles)}]")
    return {role: f"{pack}[{index}]" for index, role in enumerate(roles)}


@way("list appended")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("parts")
    block.line(f"{pack} = []")
    for value in roles.values():
        block.line(f"{pack}.append({value})")
    return {role: f"{pack}[{index}]" for index, role in enumerate(roles)}


@way("list extended")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("parts")
    first, *others = roles.values()
    block.line(f"{pack} = [{first}]")
    block.line(f"{pack}.extend([{', '.join(others)}])")
    taken = local_names(block, roles)
    block.line(f"{listed(taken)} = {pack}")
    return taken


@way("list of pairs")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("pairs")
    block.line(f"{pack} = []")
    block.line(f"{pack}.append(({listed(roles)}))")
    taken = local_names(block, roles)
    block.nest(f"for {listed(taken)} in {pack}:")
    return taken


@way("enumerate")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("pairs")
    block.line(f"{pack} = [({listed(roles)})]")
    taken = local_names(block, roles)
    block.nest(f"for index, ({listed(taken)}) in enumerate({pack}):")
    return taken


@way("zip")
def _(block: Block, roles: Roles) -> Roles:
    names = []
    for role, value in roles.items():
        names.append(block.project.name(f"{block.project.word(role)}s"))
        block.line(f"{names[-1]} = [{value}]")
    taken = local_names(block, roles)
    block.nest(f"for {listed(taken)} in zip({', '.join(names)}):")
    return taken


@way("comprehension of a list")
def _(block: Block, roles: Roles) -> Roles:
    tensors = {role: value for role, value in roles.items() if role in FACTORS}
    taken = local_names(block, tensors)
    block.line(f"{listed(taken)} = [tensor.double() for tensor in ({listed(tensors)})]")
    return {**roles, **taken}


@way("generator expression")
def _(block: Block, roles: Roles) -> Roles:
    tensors = {role: value for role, value in roles.items() if role in FACTORS}
    taken = local_names(block, tensors)
    block.line(f"{listed(taken)} = (t.contiguous() for t in ({listed(tensors)}))")
    return {**roles, **taken}


@way("map call")
def _(block: Block, roles: Roles) -> Roles:
    tensors = {role: value for role, value in roles.items() if role in FACTORS}
    taken = local_names(block, tensors)
    block.imports.add("import torch")
    block.line(f"{listed(taken)} = map(torch.Tensor.double, ({listed(tensors)}))")
    return {**roles, **taken}
