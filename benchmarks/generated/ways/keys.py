"""Keys that are built from the name of a module, and read back."""

from __future__ import annotations

from benchmarks.generated.code import Block, Roles
from benchmarks.generated.ways.table import WAYS, Way, local_names, way


def _suffixes(block: Block, roles: Roles) -> dict[str, str]:
    naming = block.project.naming
    known = {"A": naming.down_key, "B": naming.up_key, "alpha": naming.alpha_key}
    return {role: known.get(role, f".{block.project.word(role)}") for role in roles}


def _keyed(block: Block, roles: Roles) -> tuple[str, str, dict[str, str]]:
    """A dictionary as a file holds it, the variable with the module's name, and the suffixes."""
    pack, name = block.project.name("state"), block.project.name("module_name")
    suffixes = _suffixes(block, roles)
    block.line(f'{name} = "blocks.0.proj"')
    block.line(f"{pack} = {{}}")
    for role, value in roles.items():
        block.line(f'{pack}[f"{{{name}}}{suffixes[role]}"] = {value}')
    return pack, name, suffixes


@way("key by f-string")
def _(block: Block, roles: Roles) -> Roles:
    pack, name, suffixes = _keyed(block, roles)
    taken = local_names(block, roles)
    for role in roles:
        block.line(f'{taken[role]} = {pack}[f"{{{name}}}{suffixes[role]}"]')
    return taken


@way("key by +")
def _(block: Block, roles: Roles) -> Roles:
    pack, name, suffixes = _keyed(block, roles)
    taken = local_names(block, roles)
    for role in roles:
        block.line(f'{taken[role]} = {pack}[{name} + "{suffixes[role]}"]')
    return taken


def _loop_over_first(block: Block, roles: Roles) -> tuple[str, str, str, dict[str, str], Roles]:
    """Loop over the keys; inside, the first factor is in hand."""
    pack, name, suffixes = _keyed(block, roles)
    first = next(iter(roles))
    taken = local_names(block, roles)
    block.nest(f"for key in list({pack}):")
    block.line(f'if not key.endswith("{suffixes[first]}"):\n    continue')
    block.line(f"{taken[first]} = {pack}[key]")
    return pack, name, first, suffixes, taken


@way("key by replace")
def _(block: Block, roles: Roles) -> Roles:
    pack, _, first, suffixes, taken = _loop_over_first(block, roles)
    for role in list(roles)[1:]:
        block.line(f'{taken[role]} = {pack}[key.replace("{suffixes[first]}", "{suffixes[role]}")]')
    return taken


def _by_stem(stem: str) -> Way:
    def way_of_stem(block: Block, roles: Roles) -> Roles:
        pack, _, first, suffixes, taken = _loop_over_first(block, roles)
        suffix = suffixes[first]
        if "re.sub" in stem:
            block.imports.add("import re")
        block.line(f"stem = {stem.format(suffix=suffix, length=len(suffix), head=suffix.split('.')[1])}")
        for role in list(roles)[1:]:
            block.line(f'{taken[role]} = {pack}[f"{{stem}}{suffixes[role]}"]')
        return taken

    return way_of_stem


WAYS["key by removesuffix"] = _by_stem('key.removesuffix("{suffix}")')
WAYS["key by split"] = _by_stem('key.split(".{head}")[0]')
WAYS["key by re.sub"] = _by_stem('re.sub(r"\\.{head}(\\.weight)?$", "", key)')
WAYS["key by slicing"] = _by_stem('key[: -len("{suffix}")]')
WAYS["key by slicing a number"] = _by_stem("key[:-{length}]")
WAYS["key by partition"] = _by_stem('key.partition(".{head}")[0]')
WAYS["key by rpartition"] = _by_stem('key.rpartition(".{head}")[0]')


@way("value picked by key")
def _(block: Block, roles: Roles) -> Roles:
    pack, _, suffixes = _keyed(block, roles)
    taken = local_names(block, roles)
    text = f"for key, value in {pack}.items():"
    word = "if"
    for role in roles:
        text += f'\n    {word} key.endswith("{suffixes[role]}"):\n        {taken[role]} = value'
        word = "elif"
    block.line(text)
    return taken
