"""Options of a program that decide the scale of an adapter, and that nobody reads where one is built."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    ALPHA_FIELD,
    BUILDS_ADAPTERS,
    MESSAGES,
    SETTINGS_NAMES,
    TURNS_TO_DICTIONARY,
)
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.options import OPTION_CALLS
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.defaults import names_of
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import LeftAlpha, left_alphas
from lorascale_lint.ledger.numbers import number_origins, scale_of
from lorascale_lint.ledger.origins import last_of, owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.told import unheeded
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, dotted
from lorascale_lint.provenance.values import Place, Ref, Text, options


@immutable(frozen=True, slots=True, eq=False)
class UnreadOption:
    """``name`` is declared at ``spot`` beside the rank that ``build`` is given, and nothing reads it.

    Or it is read there, for a message.
    """

    name: str
    spot: Spot
    build: Use
    is_flag: bool
    """Is it the one for rsLoRA? Else it is alpha."""
    parameter: str = ALPHA_FIELD
    """What takes it where the adapter is built."""

    @property
    def given(self) -> Spot | None:
        """What is given in its place."""
        return argument_of(self.build, self.parameter)

    @property
    def told(self) -> str:
        """The option as the call would read it, ``args.lora_alpha``; empty where that is not known."""
        names = [name for name in self.build.given if role_of(name, True) == RANK]
        places = [argument.node for name in names if (argument := argument_of(self.build, name)) is not None]
        owners = {dotted(node.value) for node in places if isinstance(node, ast.Attribute)}
        return f"{owners.pop()}.{self.name}" if len(owners) == 1 else ""


@immutable(frozen=True, slots=True)
class _Group:
    """Options that are declared together, by name; ``cls`` if they are fields."""

    declared: dict[str, Spot]
    cls: ClassInfo | None = None


def unread_options(ledger: Ledger) -> list[UnreadOption]:
    """Options for rsLoRA, or for alpha, that end where they are declared."""
    return ledger.once(_unread_options)


def _unread_options(ledger: Ledger) -> list[UnreadOption]:
    builds = [use for use in ledger.uses if _builds(use)]
    own = {left.use: left.parameter for left in left_alphas(ledger) if _of_settings(left)}
    builds += own
    if not builds:
        return []
    files = dict.fromkeys(spot.file for spot in _spots(ledger))
    if any(map(_spreads, files)):
        return []
    read = {name for file in files for name in _attributes(file)}
    functions = (function for file in files for function in file.all_functions)
    read.update(
        name
        for function in functions
        if getattr(function.node, "decorator_list", ())
        for name in function.parameters
    )
    keys = (item.key for item in ledger.reads if item.how != "attribute")
    read.update(key.literal or "" for key in keys if isinstance(key, Text))
    seen: set[tuple[str, int]] = set()
    found = list(_only_told(ledger, builds))
    for group in (*_parsers(ledger), *_records(files)):
        for name, spot in group.declared.items():
            is_flag = speaks_of_rslora(name)
            if not (is_flag or role_of(name, True) == ALPHA) or name in read:
                continue
            if group.cls is not None and (group.cls.key, name) in ledger.fields_read:
                continue
            build = next((use for use in builds if _of_group(use, group) and _lacks(use, is_flag)), None)
            place = (spot.file.filename, spot.row)
            if build is None or place in seen or ledger.read_elsewhere(name):
                continue
            if group.cls is None or not _goes_on_whole(ledger, group.cls):
                seen.add(place)
                found.append(UnreadOption(name, spot, build, is_flag, own.get(build, ALPHA_FIELD)))
    return found


def _only_told(ledger: Ledger, builds: list[Use]) -> Iterator[UnreadOption]:
    """Flags of settings that are read for a message, where the rank beside them builds the adapter."""
    unused = unheeded(ledger, speaks_of_rslora)
    for read in (*ledger.reads, *ledger.parts):
        name = (read.key.literal or "") if isinstance(read.key, Text) else ""
        if not speaks_of_rslora(name) or read.spot.file.filename not in unused or read.spot.chain:
            continue
        held = {option.value.path for option in options(read.container) if isinstance(option.value, Place)}
        for use in builds:
            ranks = [value for key, value in use.given.items() if role_of(key, True) == RANK]
            owners = {owner_of(origin) for value in ranks for origin in number_origins(value)}
            if _lacks(use, is_flag=True) and not owners.isdisjoint(held) and not use.spot.chain:
                yield UnreadOption(name, read.spot, use, is_flag=True)
                return


def _attributes(file: FileInfo) -> Iterator[str]:
    """Attributes that the file reads of others, but for a message or only as the default of an option."""
    ignored: set[ast.AST] = set()
    for node in ast.walk(file.tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name), keywords=keywords) if name in OPTION_CALLS:
                ignored.update(keyword.value for keyword in keywords if keyword.arg == OPTION_CALLS[name])
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) as call) if (
                name in MESSAGES
            ):
                ignored.update(part for part in ast.walk(call) if _is_number(part))
            case ast.Attribute(value=ast.Name(id="self")):
                pass
            case ast.Attribute(attr=name, ctx=ast.Load()) if node not in ignored:
                yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str() as name), *_]
            ):
                yield name
            case _:
                pass


def _is_number(node: ast.AST) -> bool:
    """May the attribute hold alpha? A function that is called in a message may do something."""
    return isinstance(node, ast.Attribute) and role_of(node.attr, True) == ALPHA


def _builds(use: Use) -> bool:
    node = use.spot.node
    return (
        use.called in BUILDS_ADAPTERS
        and use.callee is None
        and not use.spot.file.is_test
        and isinstance(node, ast.Call)
        and not use.hidden
    )


def _lacks(use: Use, is_flag: bool) -> bool:
    """Is nothing given for the flag, or no alpha but a literal or what is made of the rank?"""
    if is_flag:
        return use.callee is None and not any(map(speaks_of_rslora, use.given))
    alphas = [value for name, value in use.given.items() if role_of(name, True) == ALPHA]
    return all(
        scale is not None and all(symbol.role == RANK for symbol, _ in scale.powers)
        for scale in map(scale_of, alphas)
    )


def _of_settings(left: LeftAlpha) -> bool:
    """Is the rank that a layer of the project is given one of settings, by their name or their class?"""
    arguments = left.caller.node.args
    typed = {a.arg for a in (*arguments.posonlyargs, *arguments.args) if a.annotation is not None}
    owners = [
        dotted(argument.node.value)
        for _, _, argument in left.ranks()
        if argument is not None and isinstance(argument.node, ast.Attribute)
    ]
    return any(owner in typed or last_of(owner) in SETTINGS_NAMES for owner in owners)


def _of_group(use: Use, group: _Group) -> bool:
    """Is the rank that is given one of the options?"""
    ranks = [name for name in use.given if role_of(name, True) == RANK]
    names = {last_of(origin.partition("=")[0]) for r in ranks for origin in number_origins(use.given[r])}
    places = [argument.node for name in ranks if (argument := argument_of(use, name)) is not None]
    names.update(node.attr for node in places if isinstance(node, ast.Attribute))
    return not names.isdisjoint(group.declared)


def _parsers(ledger: Ledger) -> Iterator[_Group]:
    """Options that are declared by calls of one function or file."""
    found: dict[object, dict[str, Spot]] = defaultdict(dict)
    for use in ledger.uses:
        if use.called in OPTION_CALLS and not use.spot.chain and not use.spot.file.is_test:
            for name in names_of(use):
                found[use.spot.function or use.spot.file.filename][name] = use.spot
    yield from map(_Group, found.values())


def _records(files: Iterable[FileInfo]) -> Iterator[_Group]:
    """Fields of the project's classes of settings."""
    for cls in (cls for file in files for cls in file.classes.values()):
        if cls.file.is_test or RANK not in {role_of(name, True) for name in cls.attributes}:
            continue
        declared = {
            node.target.id: Spot(cls.file, None, cls, node)
            for node in cls.node.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        yield _Group(declared, cls)


def _spots(ledger: Ledger) -> Iterator[Spot]:
    yield from (item.spot for item in ledger.defaults)
    yield from (use.spot for use in ledger.uses)


def _goes_on_whole(ledger: Ledger, cls: ClassInfo) -> bool:
    """Is an object of the class given to code out of sight, which may read any of its fields?"""
    return any(
        isinstance(option.value, Ref) and option.value.cls is cls
        for use in ledger.uses
        if use.callee is None
        for value in use.given.values()
        for option in options(value)
    )


def _spreads(file: FileInfo) -> bool:
    """Does the file hand settings on as a whole: behind two stars, or to the ``update`` of a dictionary?"""
    for node in ast.walk(file.tree):
        match node:
            case (
                ast.keyword(arg=None, value=whole) | ast.Call(func=ast.Attribute(attr="update"), args=[whole])
            ) if _is_whole(whole):
                return True
            case _:
                pass
    return False


def _is_whole(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SETTINGS_NAMES or name == "__dict__"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in TURNS_TO_DICTIONARY
        case _:
            return False
