"""How loaders find the tensors of one module in an adapter's state dict."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.generated.code import Block, Roles

Reader = Callable[[Block, dict[str, str]], Roles]
READERS: dict[str, Reader] = {}
"""Each opens a loop over the modules in ``state_dict`` and gives expressions for the keys by role.

The second argument gives the suffix of each role's key; the name of the module is ``name`` afterwards.
"""


def _by_stem(stem: str) -> Reader:
    def reader(block: Block, suffixes: dict[str, str]) -> Roles:
        first, *others = suffixes
        suffix = suffixes[first]
        if "re." in stem:
            block.imports.add("import re")
        block.nest("for key, value in state_dict.items():")
        block.line(f'if not key.endswith("{suffix}"):\n    continue')
        head = suffix.split(".")[1]
        block.line(f"name = {stem.format(suffix=suffix, length=len(suffix), head=head)}")
        roles = {first: block.project.word(first)}
        block.line(f"{roles[first]} = value")
        for role in others:
            roles[role] = block.project.word(role)
            block.line(f'{roles[role]} = state_dict[f"{{name}}{suffixes[role]}"]')
        return roles

    return reader


READERS["removesuffix"] = _by_stem('key.removesuffix("{suffix}")')
READERS["replace to nothing"] = _by_stem('key.replace("{suffix}", "")')
READERS["split"] = _by_stem('key.split(".{head}")[0]')
READERS["partition"] = _by_stem('key.partition(".{head}")[0]')
READERS["re.sub"] = _by_stem('re.sub(r"\\.{head}(\\.weight)?$", "", key)')
READERS["slice by len"] = _by_stem('key[: -len("{suffix}")]')


def _by_names(block: Block, suffixes: dict[str, str]) -> Roles:
    suffix = next(iter(suffixes.values()))
    block.line(f'names = [key.removesuffix("{suffix}") for key in state_dict if key.endswith("{suffix}")]')
    block.nest("for name in names:")
    roles = {role: block.project.word(role) for role in suffixes}
    for role, ending in suffixes.items():
        block.line(f'{roles[role]} = state_dict[name + "{ending}"]')
    return roles


READERS["list of names"] = _by_names


def _by_replace(block: Block, suffixes: dict[str, str]) -> Roles:
    first, *others = suffixes
    roles = {role: block.project.word(role) for role in suffixes}
    block.nest("for key in sorted(state_dict):")
    block.line(f'if not key.endswith("{suffixes[first]}"):\n    continue')
    block.line(f'name = key.replace("{suffixes[first]}", "")')
    block.line(f"{roles[first]} = state_dict[key]")
    for role in others:
        block.line(f'{roles[role]} = state_dict[key.replace("{suffixes[first]}", "{suffixes[role]}")]')
    return roles


READERS["keys replaced"] = _by_replace


def _by_groups(block: Block, suffixes: dict[str, str]) -> Roles:
    groups, group = block.project.name("groups"), block.project.name("group")
    block.line(f"{groups} = {{}}")
    text, word = "for key, value in state_dict.items():", "if"
    for role, ending in suffixes.items():
        part = block.project.word(role)
        text += f'\n    {word} key.endswith("{ending}"):'
        text += f'\n        {groups}.setdefault(key.removesuffix("{ending}"), {{}})["{part}"] = value'
        word = "elif"
    block.line(text)
    block.nest(f"for name, {group} in {groups}.items():")
    return {role: f'{group}["{block.project.word(role)}"]' for role in suffixes}


READERS["groups"] = _by_groups


def _by_two_dicts(block: Block, suffixes: dict[str, str]) -> Roles:
    words = {role: block.project.word(role) for role in suffixes}
    for word in words.values():
        block.line(f"{word}_by_name = {{}}")
    text, start = "for key, value in state_dict.items():", "if"
    for role, ending in suffixes.items():
        text += f'\n    {start} key.endswith("{ending}"):'
        text += f'\n        {words[role]}_by_name[key[: -len("{ending}")]] = value'
        start = "elif"
    block.line(text)
    first, *others = suffixes
    block.nest(f"for name, {words[first]} in {words[first]}_by_name.items():")
    return {first: words[first], **{role: f"{words[role]}_by_name[name]" for role in others}}


READERS["a dict for each part"] = _by_two_dicts


def _by_popping(block: Block, suffixes: dict[str, str]) -> Roles:
    suffix = next(iter(suffixes.values()))
    block.line("state_dict = dict(state_dict)")
    block.nest("for key in list(state_dict):")
    block.line(f'if not key.endswith("{suffix}"):\n    continue')
    block.line(f'name = key.removesuffix("{suffix}")')
    roles = {role: block.project.word(role) for role in suffixes}
    for role, ending in suffixes.items():
        block.line(f'{roles[role]} = state_dict.pop(f"{{name}}{ending}")')
    return roles


READERS["popped"] = _by_popping
