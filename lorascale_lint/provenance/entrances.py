"""Where adapter files come into the functions of a file, and what their code says of such files."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import A, B, holds_counts, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.keys import role_in
from lorascale_lint.provenance.values import Place, Text, Value, options
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True)
class Entrance:
    """Where an adapter file comes in: a parameter, the call that opens it, or a field that keeps it."""

    function: FunctionInfo | None
    cls: ClassInfo | None
    parameter: str
    node: ast.AST | None
    spot: Spot
    keys: tuple[Text, ...] = ()
    """Keys that the function looks up."""
    rows: bool = False
    """Does the parameter hold several of them?"""
    takers: tuple[FunctionInfo, ...] = ()
    """Functions that are given the file as it comes, one by the other."""

    @property
    def is_below(self) -> bool:
        """Is the file opened by what the function calls, and not by itself?"""
        return self.node is not None and self.spot.function is not self.function


def told_in(entrance: Entrance, file: FileInfo) -> str:
    """The code that says what the file may be: the function's, of its takers, of tables they read."""
    if entrance.function is None:
        return file.source
    texts = []
    for function in (entrance.function, *entrance.takers):
        bound = [s for name in sorted(function.names_read) for s in function.file.bindings.get(name, ())]
        tables = [item for item in bound if isinstance(item, ast.Assign | ast.AnnAssign)]
        texts += [function.file.text(node) for node in (function.node, *tables)]
    return "\n".join(texts)


@immutable(frozen=True, slots=True)
class Mark:
    """How much the ledger held before a file was looked at."""

    uses: int
    reads: int
    writes: int
    products: int
    stores: int


def mark(ledger: Ledger) -> Mark:
    """What `record` need not look at again."""
    return Mark(
        len(ledger.uses), len(ledger.reads), len(ledger.writes), len(ledger.products), len(ledger.stores)
    )


def entrances(ledger: Ledger, file: FileInfo, before: Mark) -> Iterator[Entrance]:
    """The places of ``file`` where tensors by name come in, from what its functions did with them."""
    opened: dict[object, set[ast.AST]] = {}
    for use in ledger.uses[before.uses :]:
        function = (
            _outermost(use, file) if any(is_opened_file(o.value) for o in options(use.result)) else _NOWHERE
        )
        info = function if isinstance(function, FunctionInfo) else None
        if function is not _NOWHERE and use.spot.node not in opened.setdefault(function, set()):
            opened[function].add(use.spot.node)
            keys = _keys(ledger, before, info, "")
            yield Entrance(info, None if info is None else info.owner, "", use.spot.node, use.spot, keys)
    seen: dict[tuple[FunctionInfo, str], Spot] = {}
    rows: set[tuple[FunctionInfo, str]] = set()
    adapters: set[tuple[FunctionInfo, str]] = set()
    entries: list[KeyRead | KeyWrite] = [*ledger.reads[before.reads :], *ledger.writes[before.writes :]]
    for entry in entries:
        info = entry.spot.function
        if entry.spot.chain or entry.spot.file is not file or info is None or not isinstance(entry.key, Text):
            continue
        paths = [getattr(entry.container, "path", ""), *_entries_in(entry.value)]
        for name in _parameters_of(info, paths):
            seen.setdefault((info, name), entry.spot)
            if _is_of(paths[0], name) and role_in(entry.key) in (A, B):
                adapters.add((info, name))
            asked = isinstance(entry, KeyRead) and entry.how == "in"
            if paths[0] == f"{name}[*]" and not asked:
                rows.add((info, name))
        if info not in opened and entry.spot.cls is not None and any(p.startswith("file(") for p in paths):
            seen.setdefault((info, ""), entry.spot)
    for store in ledger.stores[before.stores :]:
        info = store.spot.function
        if (
            info is None
            or store.spot.chain
            or store.spot.file is not file
            or role_of(store.field, True) is None
        ):
            continue
        for name in _parameters_of(info, _entries_in(store.value)):
            seen.setdefault((info, name), store.spot)
    takers: dict[tuple[FunctionInfo, str], tuple[FunctionInfo, ...]] = {}
    for _ in range(2):
        for use in ledger.uses[before.uses :]:
            info, callee = use.spot.function, use.callee
            if use.spot.chain or info is None or not isinstance(callee, FunctionInfo):
                continue
            for parameter, value in use.given.items():
                name = value.path if isinstance(value, Place) else ""
                if (callee, parameter) in seen and name in info.parameters and info is not callee:
                    seen.setdefault((info, name), use.spot)
                    takers.setdefault((info, name), (callee, *takers.get((callee, parameter), ())))
    for (info, name), spot in sorted(seen.items(), key=lambda item: item[0] not in adapters):
        keys = _keys(ledger, before, info, name)
        several, given_to = bool(name) and (info, name) in rows, takers.get((info, name), ())
        yield Entrance(info, spot.cls, name, None, spot, keys, several, given_to)


def _entries_in(value: Value) -> list[str]:
    """The entries of dictionaries that a value may be; not a parameter that itself is one."""
    return [path for path in origins(value) if "[" in path]


def _parameters_of(info: FunctionInfo, paths: list[str]) -> Iterator[str]:
    """The parameters of ``info`` that some of the paths lead into."""
    for name in info.parameters:
        own = name not in ("self", "cls") and any(_is_of(path, name) for path in paths)
        if own and not holds_counts(info.annotation(name)):
            yield name


def _is_of(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}[")


def _keys(ledger: Ledger, before: Mark, info: FunctionInfo | None, parameter: str) -> tuple[Text, ...]:
    """Keys that the function looks up in a parameter, or in files where it is none."""
    found: dict[Text, None] = {}
    for read in ledger.reads[before.reads :]:
        path = getattr(read.container, "path", "")
        own = path in (parameter, f"{parameter}[*]") if parameter else path.startswith("file(")
        if own and read.spot.function is info and isinstance(read.key, Text):
            found[read.key] = None
    return tuple(found)


_NOWHERE = object()


def _outermost(use: Use, file: FileInfo) -> object:
    """The function of ``file`` that was looked at when this happened; None for the top level."""
    if not use.spot.chain:
        return use.spot.function if use.spot.file is file else _NOWHERE
    filename, _, row = use.spot.chain[0].rpartition(":")
    if filename != file.filename:
        return _NOWHERE
    return file.function_at(int(row))


def is_opened_file(value: Value) -> bool:
    return isinstance(value, Place) and value.made == "state dict" and value.path.startswith("file(")
