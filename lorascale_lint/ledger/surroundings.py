"""The code around a place: its class or function, the files beside it, those that it can be reached from."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from pathlib import PurePath

from lorascale_lint.bounds import FLAG_REACH
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of, literal_of
from lorascale_lint.ledger.told import unheeded
from lorascale_lint.linking.definitions import FileInfo, FunctionInfo
from lorascale_lint.provenance.values import Text
from lorascale_lint.provenance.ways import origins


class Surroundings:
    """Which factors the code around a place looks up, and whether the files near it know rsLoRA."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._known: dict[Callable[[str], bool], frozenset[str]] = {}

    @cached_property
    def sides(self) -> dict[tuple[str, str], set[str]]:
        """The sides of factors that each class, or function without one, looks up, renames or sets."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for read in self.ledger.reads:
            found[_scope(read.spot)].add(key_role_of(read.key) or "")
        for write in self.ledger.writes:
            texts = (write.key, write.value)
            found[_scope(write.spot)].update(key_role_of(text) or "" for text in texts)
        for store in (
            self.ledger.stores
        ):  # ``adapter.lora_a = tensor``, of an entry whose key is told apart out of sight
            if any("[" in origin for origin in origins(store.value)):
                found[_scope(store.spot)].add(key_role_of(Text((store.field,))) or "")
        return found

    def looks_factors_up(self, spot: Spot) -> bool:
        """Does the class or function around look both factors up?"""
        return self.sides[_scope(spot)] >= {"A", "B"}

    def stands_by_factors(self, spot: Spot) -> bool:
        """Does some class or function of the same file look both factors up?"""
        return spot.file.filename in self._with_factors

    @cached_property
    def _with_factors(self) -> frozenset[str]:
        return frozenset(name for (name, _), sides in self.sides.items() if sides >= {"A", "B"})

    def know_of(self, speaks: Callable[[str], bool], spots: Iterable[Spot]) -> bool:
        """Is a part asked for, given or kept in a file that may stand before or behind the places?

        ``speaks`` says of a name whether it is the part's. What is only told to a person is not known.
        """
        if speaks not in self._known:
            self._known[speaks] = self._files_of(speaks)
        return not self._known[speaks].isdisjoint(self._connected(spots))

    @cached_property
    def files(self) -> dict[str, FileInfo]:
        """The files of which the ledger tells, without tests, by their names."""
        spots = [use.spot for use in self.ledger.uses] + [item.spot for item in self.ledger.returns]
        spots += [read.spot for read in self.ledger.reads] + [part.spot for part in self.ledger.parts]
        spots += [s.spot for s in self.ledger.stores] + [item.spot for item in self.ledger.defaults]
        return {spot.file.filename: spot.file for spot in spots if not spot.file.is_test}

    def _files_of(self, speaks: Callable[[str], bool]) -> frozenset[str]:
        """Files in which the part is a field that is read or kept, an argument or a parameter."""
        found = set()
        unused = unheeded(self.ledger, speaks)
        for read in (*self.ledger.reads, *self.ledger.parts):
            if speaks(literal_of(read.key)) and read.spot.file.filename not in unused:
                found.add(read.spot.file.filename)
        for use in self.ledger.uses:
            if any(map(speaks, use.given)):
                found.add(use.spot.file.filename)
        for filename, file in self.files.items():
            fields = [name for cls in file.classes.values() for name in cls.attributes]
            taken = [name for function in file.all_functions for name in function.parameters]
            if any(map(speaks, (*fields, *taken))):
                found.add(filename)
        found.update(s.spot.file.filename for s in self.ledger.stores if speaks(s.field))
        return frozenset(name for name in found if name in self.files)

    def _connected(self, spots: Iterable[Spot]) -> frozenset[str]:
        """Neighbours in the folder, what the files import, their importers, and what those import."""
        files = {spot.file.filename for spot in spots}
        folders = {PurePath(name).parent for name in files}
        below, above = set(files), set(files)
        for _ in range(FLAG_REACH):
            below |= {target for name in below for target in self._imported.get(name, ())}
            above |= {name for name, targets in self._imported.items() if targets & above}
        beside = {target for name in above for target in self._imported.get(name, ())}
        neighbours = {name for name in self.files if PurePath(name).parent in folders}
        return frozenset(below | above | beside | neighbours)

    @cached_property
    def _imported(self) -> dict[str, frozenset[str]]:
        modules = {file.module: name for name, file in self.files.items()}
        return {
            name: frozenset(
                modules[part]
                for dotted in file.imports.values()
                for part in (dotted, dotted.rpartition(".")[0])
                if part in modules
            )
            for name, file in self.files.items()
        }


def around(spot: Spot) -> str:
    """The text of the class or function in which the spot stands; of the file for its top level."""
    function, cls = spot.function, spot.cls
    if function is None:
        return spot.file.source
    if function.owner is not None:
        return _text(spot.file, function.owner.node)
    inside = cls is not None and cls.file is spot.file and function.qualname.startswith(f"{cls.qualname}.")
    return _text(spot.file, cls.node if inside and cls is not None else function.node)


@lru_cache(maxsize=256)
def _text(file: FileInfo, node: ast.AST) -> str:
    return file.text(node)


def _scope(spot: Spot) -> tuple[str, str]:
    return (spot.file.filename, "") if spot.function is None else scope_of(spot.function)


def scope_of(function: FunctionInfo) -> tuple[str, str]:
    """A class with its methods, or a function."""
    owner = function.owner
    return function.file.filename, function.qualname if owner is None else owner.qualname
