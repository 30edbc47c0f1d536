"""Dictionaries: made at once, filled, merged, renamed."""

from __future__ import annotations

from benchmarks.generated.code import FACTORS, Block, Roles
from benchmarks.generated.ways.table import entries, given, local_names, read, way


@way("dict literal")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    return read(block, pack, roles)


@way("dict call")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = dict({given(block, roles)})")
    return read(block, pack, roles)


@way("dict filled")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = {{}}")
    for role, value in roles.items():
        block.line(f'{pack}["{block.project.word(role)}"] = {value}')
    return read(block, pack, roles)


@way("dict get")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    taken = local_names(block, roles)
    for role, name in taken.items():
        block.line(f'{name} = {pack}.get("{block.project.word(role)}")')
    return taken


@way("dict pop")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    taken = local_names(block, roles)
    for role, name in taken.items():
        block.line(f'{name} = {pack}.pop("{block.project.word(role)}")')
    return taken


@way("dict update")
def _(block: Block, roles: Roles) -> Roles:
    pack = block.project.name("entry")
    block.line(f"{pack} = {{}}")
    block.line(f"{pack}.update({{{entries(block, roles)}}})")
    return read(block, pack, roles)


@way("dict merged")
def _(block: Block, roles: Roles) -> Roles:
    pack, rest = block.project.name("entry"), block.project.name("numbers")
    block.line(f"{rest} = {{{entries(block, {r: v for r, v in roles.items() if r not in FACTORS})}}}")
    tensors = entries(block, {r: v for r, v in roles.items() if r in FACTORS})
    block.line(f"{pack} = {{{tensors}, **{rest}}}")
    return read(block, pack, roles)


@way("dict setdefault")
def _(block: Block, roles: Roles) -> Roles:
    groups = block.project.name("groups")
    block.line(f"{groups} = {{}}")
    for role, value in roles.items():
        block.line(f'{groups}.setdefault("block", {{}})["{block.project.word(role)}"] = {value}')
    group = block.project.name("group")
    block.line(f'{group} = {groups}["block"]')
    return read(block, group, roles)


@way("defaultdict items")
def _(block: Block, roles: Roles) -> Roles:
    groups, group = block.project.name("groups"), block.project.name("group")
    block.imports.add("from collections import defaultdict")
    block.line(f"{groups} = defaultdict(dict)")
    for role, value in roles.items():
        block.line(f'{groups}["block"]["{block.project.word(role)}"] = {value}')
    block.nest(f"for module_name, {group} in {groups}.items():")
    return read(block, group, roles)


@way("dict comprehension")
def _(block: Block, roles: Roles) -> Roles:
    tensors = {role: value for role, value in roles.items() if role in FACTORS}
    pack = block.project.name("tensors")
    block.line(f"{pack} = {{{entries(block, tensors)}}}")
    block.line(f"{pack} = {{key: value.double() for key, value in {pack}.items()}}")
    return {**roles, **read(block, pack, tensors)}


@way("loop that fills")
def _(block: Block, roles: Roles) -> Roles:
    pack, moved = block.project.name("entry"), block.project.name("moved")
    block.line(f"{pack} = {{{entries(block, roles)}}}")
    block.line(f"{moved} = {{}}")
    block.line(f"for key, value in {pack}.items():\n    {moved}[key] = value")
    return read(block, moved, roles)


@way("renamed by a table")
def _(block: Block, roles: Roles) -> Roles:
    pack, table, renamed = (block.project.name(stem) for stem in ("entry", "names", "renamed"))
    short = {role: f"{role.lower()}_value" for role in roles}
    entries = ", ".join(f'"{short[role]}": {value}' for role, value in roles.items())
    names = ", ".join(f'"{short[role]}": "{block.project.word(role)}"' for role in roles)
    block.line(f"{pack} = {{{entries}}}")
    block.line(f"{table} = {{{names}}}")
    block.line(f"{renamed} = {{{table}[key]: value for key, value in {pack}.items()}}")
    return read(block, renamed, roles)
