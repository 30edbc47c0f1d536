"""Fields of an adapter's configuration that code reads under names which the file does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ADAPTER_FILES, ALPHA_FIELD, RANK_FIELD
from lorascale_lint.knowledge.kinds import meant_field
from lorascale_lint.ledger.contracts import Contracts, Meeting
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.linking.definitions import ClassInfo, FileInfo


@immutable(frozen=True, slots=True, eq=False)
class MisnamedField:
    """At ``spot`` stands ``name``, where the file that comes from ``origin`` has ``meant``."""

    spot: Spot
    name: str
    meant: str
    origin: Spot


def misnamed_fields(ledger: Ledger) -> list[MisnamedField]:
    """Each place once; the name that is meant must stand nowhere in the file."""
    return ledger.once(_misnamed_fields)


def _misnamed_fields(ledger: Ledger) -> list[MisnamedField]:
    places: dict[tuple[str, int], MisnamedField] = {}
    for found in (*_read(ledger), *_declared(ledger)):
        place = (found.spot.file.filename, found.spot.row)
        if place not in places and not _names(found.spot.file, found.meant) and not found.spot.file.is_test:
            places[place] = found
    return list(places.values())


def _read(ledger: Ledger) -> Iterator[MisnamedField]:
    """Entries of a loaded configuration."""
    contracts = ledger.once(Contracts)
    for path, reads in list(contracts.reads_of.items()):
        fields = {literal_of(read.key): read for read in reads}
        wrong = {name: meant for name in fields if (meant := meant_field(name)) is not None}
        alpha, rank = fields.get(ALPHA_FIELD), fields.get(RANK_FIELD)
        if not wrong or alpha is None or rank is None:
            continue
        origin = contracts.loaded(Meeting(path, alpha, rank, alpha.spot))
        for name, meant in wrong.items() if origin is not None else ():
            if fields[name].spot.file is alpha.spot.file and origin is not None:
                yield MisnamedField(fields[name].spot, name, meant, origin)


def _declared(ledger: Ledger) -> Iterator[MisnamedField]:
    """Fields of a record that is filled with whatever the file has under their names."""
    filled: dict[ClassInfo, Spot] = {
        use.callee: use.spot
        for use in ledger.uses
        if isinstance(use.callee, ClassInfo) and use.hidden and ADAPTER_FILES[0] in use.spot.file.source
    }
    given = {name for use in ledger.uses for name in use.given} if filled else set()
    for cls, origin in filled.items():
        fields = {n: node for item in ledger.lineage(cls) for n, node in item.attributes.items()}
        if not {ALPHA_FIELD, RANK_FIELD} <= fields.keys():
            continue
        for name, default in fields.items():
            meant = meant_field(name)
            if meant is None or default is None or name in given or _names(origin.file, meant):
                continue
            yield MisnamedField(Spot(cls.file, None, cls, default), name, meant, origin)


def _names(file: FileInfo, name: str) -> bool:
    """Does anything in the file but a comment have the name: an attribute, a parameter, a text?"""
    return name in file.source and any(_is_called(node, name) for node in ast.walk(file.tree))


def _is_called(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Constant(value=found) | ast.Attribute(attr=found) | ast.Name(id=found):
            return bool(found == name)
        case ast.keyword(arg=found) | ast.arg(arg=found):
            return found == name
        case _:
            return False
