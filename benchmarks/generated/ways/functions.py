"""Helpers, closures, arguments and generators."""

from __future__ import annotations

from benchmarks.generated.code import FACTORS, Block, Roles
from benchmarks.generated.ways.table import listed, local_names, way


def _identity_lines(name: str, roles: Roles, *, head: tuple[str, ...] = ()) -> list[str]:
    names = [f"{'t' if role in FACTORS else 'n'}{index}" for index, role in enumerate(roles)]
    made = [f"{n}.contiguous()" if n.startswith("t") else n for n in names]
    return [*head, f"def {name}({', '.join(names)}):", f"    return {', '.join(made)}"]


@way("helper that returns them")
def _(block: Block, roles: Roles) -> Roles:
    name, taken = block.project.name("prepare"), local_names(block, roles)
    block.helper(name, _identity_lines(name, roles))
    block.line(f"{listed(taken)} = {name}({listed(roles)})")
    return taken


@way("pass-through decorator")
def _(block: Block, roles: Roles) -> Roles:
    name, decorator, taken = (
        block.project.name("prepare"),
        block.project.name("traced"),
        local_names(block, roles),
    )
    lines = [
        f"def {decorator}(function):",
        "    @wraps(function)",
        "    def inner(*args, **kwargs):",
        "        return function(*args, **kwargs)",
        "",
        "    return inner",
    ]
    block.helper(decorator, lines, "from functools import wraps")
    block.helper(name, _identity_lines(name, roles, head=(f"@{decorator}",)))
    block.line(f"{listed(taken)} = {name}({listed(roles)})")
    return taken


@way("*args")
def _(block: Block, roles: Roles) -> Roles:
    name, pack, taken = block.project.name("prepare"), block.project.name("parts"), local_names(block, roles)
    block.helper(name, _identity_lines(name, roles))
    block.line(f"{pack} = [{listed(roles)}]")
    block.line(f"{listed(taken)} = {name}(*{pack})")
    return taken


@way("**kwargs")
def _(block: Block, roles: Roles) -> Roles:
    name, options, taken = (
        block.project.name("prepare"),
        block.project.name("options"),
        local_names(block, roles),
    )
    words = {role: block.project.helper_word(role) for role in roles}
    block.helper(name, [f"def {name}(**kwargs):", *_from_kwargs(list(words.values()))])
    block.line(f"{options} = {{{', '.join(f'{chr(34)}{words[r]}{chr(34)}: {v}' for r, v in roles.items())}}}")
    block.line(f"{listed(taken)} = {name}(**{options})")
    return taken


def _from_kwargs(words: list[str]) -> list[str]:
    return ["    return " + ", ".join(f'kwargs["{word}"]' for word in words)]


@way("generator")
def _(block: Block, roles: Roles) -> Roles:
    name, taken = block.project.name("each_pair"), local_names(block, roles)
    block.helper(name, [f"def {name}(items):", "    for item in items:", "        yield item"])
    block.nest(f"for {listed(taken)} in {name}([({listed(roles)})]):")
    return taken


@way("closure")
def _(block: Block, roles: Roles) -> Roles:
    name = block.project.name("current")
    taken = {role: f"{block.local(role)}_now" for role in roles}
    block.line(f"def {name}():\n    return {listed(roles)}\n")
    block.line(f"{listed(taken)} = {name}()")
    return taken


@way("lambda")
def _(block: Block, roles: Roles) -> Roles:
    name = block.project.name("current")
    taken = {role: f"{block.local(role)}_now" for role in roles}
    block.line(f"{name} = lambda: ({listed(roles)})")
    block.line(f"{listed(taken)} = {name}()")
    return taken


@way("partial")
def _(block: Block, roles: Roles) -> Roles:
    name, bound, taken = block.project.name("prepare"), block.project.name("bound"), local_names(block, roles)
    block.helper(name, _identity_lines(name, roles))
    block.imports.add("from functools import partial")
    first, *others = roles.values()
    block.line(f"{bound} = partial({name}, {first})")
    block.line(f"{listed(taken)} = {bound}({', '.join(others)})")
    return taken
