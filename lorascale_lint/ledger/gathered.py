"""Dictionaries that a function gathers of a file and then forgets, and calls that would have taken them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import MODULE_WORDS
from lorascale_lint.knowledge.roles import ALPHA, role_of, words
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.fates import Fate, fates
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo


@immutable(frozen=True, slots=True)
class Gathered:
    """A local dictionary that is filled and never read."""

    name: str
    made: Spot
    writes: tuple[KeyWrite, ...]


@immutable(frozen=True, slots=True)
class Consumer:
    """A call after the dictionary was filled, whose callee has a parameter for it that is left out."""

    use: Use
    callee: FunctionInfo
    title: str
    parameter: str
    takes_all: bool
    """Is the parameter for one alpha per module, and not for the one of all modules?"""


def forgotten(ledger: Ledger) -> Iterator[tuple[Fate, Gathered, list[Gathered]]]:
    """Dictionaries of alphas that nobody reads, with those that were gathered for nothing beside them."""
    seen: set[ast.AST] = set()
    for fate in fates(ledger):
        unread = list(_unread(fate))
        for gathered in unread:
            alphas = all(fate.is_alpha(write.value) for write in gathered.writes)
            if alphas and gathered.made.node not in seen:
                seen.add(gathered.made.node)
                yield fate, gathered, [other for other in unread if other is not gathered]


def consumers(fate: Fate, gathered: Gathered) -> Iterator[Consumer]:
    """Calls of the project that would have taken the dictionary."""
    last = gathered.writes[-1].spot.row
    for use in fate.ledger.uses:
        node = use.spot.node
        own = use.spot.function is fate.trial.function and not use.spot.chain and use.spot.row >= last
        if not own or not isinstance(node, ast.Call) or use.hidden or use.callee is None:
            continue
        callee = use.callee.methods.get("__init__") if isinstance(use.callee, ClassInfo) else use.callee
        if callee is None:
            continue
        optional = [
            name
            for name in optional_parameters(callee)
            if role_of(name, True) == ALPHA or name == gathered.name
        ]
        maps = [name for name in optional if name == gathered.name or MODULE_WORDS.intersection(words(name))]
        takes = maps or optional
        if takes and not any(name in use.given for name in takes):
            yield Consumer(use, callee, use.callee.name, takes[0], bool(maps))


def optional_parameters(function: FunctionInfo) -> list[str]:
    """Parameters that a call may leave out."""
    given = function.node.args
    plain = [*given.posonlyargs, *given.args]
    optional = plain[len(plain) - len(given.defaults) :]
    keyword = [
        arg for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None
    ]
    return [arg.arg for arg in (*optional, *keyword)]


def _unread(fate: Fate) -> Iterator[Gathered]:
    """Local dictionaries of the function that start empty, are filled, and never read."""
    function = fate.trial.function
    if function is None or isinstance(function.node, ast.Lambda):
        return
    names = [node.id for node in function.nodes if isinstance(node, ast.Name)]
    if "locals" in names:
        return
    for made in function.nodes:
        if (
            not isinstance(made, ast.Assign | ast.AnnAssign)
            or made.value is None
            or not _is_empty(made.value)
        ):
            continue
        target = made.targets[0] if isinstance(made, ast.Assign) else made.target
        if not isinstance(target, ast.Name):
            continue
        writes = [w for w in fate.ledger.writes if _writes_to(w, target.id) and w.spot.function is function]
        if writes and not _is_read(function.node, target.id):
            spot = Spot(function.file, function, function.owner, made)
            yield Gathered(target.id, spot, tuple(writes))


def _is_empty(value: ast.expr) -> bool:
    match value:
        case ast.Dict(keys=[]):
            return True
        case ast.Call(func=ast.Name(id="dict" | "defaultdict" | "OrderedDict")):
            return not value.keywords
        case _:
            return False


def _writes_to(write: KeyWrite, name: str) -> bool:
    node = write.spot.node
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name


def _is_read(root: ast.AST, name: str) -> bool:
    """Is the local used for more than to be filled and asked for keys?"""
    filled: set[ast.AST] = set()
    for node in ast.walk(root):
        match node:
            case ast.Subscript(value=ast.Name() as base, ctx=ast.Store()):
                filled.add(base)
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Name() as asked]):
                filled.add(asked)
    return any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and node not in filled
        for node in ast.walk(root)
    )
