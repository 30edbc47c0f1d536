"""Whether a number may have a fraction: by what it was read from, or by how it is declared."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, METADATA_PREFIX
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import STAND_IN
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import NONE, Number, Text, Value, options


def why_real(ledger: Ledger, operand: Spot, value: Value) -> str | None:
    """Why the number that stands at ``operand`` may have a fraction; None if nothing says so."""
    if isinstance(operand.node, ast.Call) and getattr(operand.node.func, "attr", "") == "item":
        return None if _is_written_whole(ledger, operand) else "the value is read from a tensor"
    ways = [way for way in (option.value for option in options(value)) if way != NONE and not _is_rank(way)]
    found = [_why(ledger, operand, way) for way in ways]
    if not all(why or _is_walked(way) for why, way in zip(found, ways, strict=True)):
        return None
    return next((why for why in found if why), None)


def _is_written_whole(ledger: Ledger, operand: Spot) -> bool:
    """Are the alphas that the same code writes under such keys made whole where their layers are made?"""
    writes = (w for w in ledger.writes if w.spot.file is operand.file and key_role_of(w.key) == ALPHA)
    written = [option.value for write in writes for option in options(write.value)]
    return bool(written) and all(isinstance(value, Number) and value.truncated for value in written)


def is_declared_whole(operand: Spot) -> bool:
    """Is what stands at ``operand`` no parameter, or one that is declared an integer?"""
    if not isinstance(operand.node, ast.Name) or operand.function is None:
        return True
    found = _parameter(operand.function, operand.node.id)
    return found is None or (found[0].annotation is not None and "int" in ast.unparse(found[0].annotation))


def _why(ledger: Ledger, operand: Spot, value: Value) -> str | None:
    known = number(value)
    origins = [] if known is None else [symbol.origin for symbol, _ in known.scale.powers]
    for origin in origins:
        if isinstance(value, Number) and _is_metadata(ledger, origin):
            return "the text of the file is parsed as a real number"
        if origin.startswith(("file(", "adapter[")):
            return "the value is a tensor of the adapter file"
    names = [origin.partition("=")[0] for origin in origins] if len(origins) == 1 else []
    if isinstance(operand.node, ast.Attribute) and not origins:
        names = [operand.node.attr]
    declared = [_declared(*place) for name in names for place in _places(ledger, operand, name)]
    return declared[0] if declared and all(declared) else None


def _is_rank(value: Value) -> bool:
    """Is it the rank, which stands in for an alpha that is missing, and is whole anyway?"""
    known = number(value)
    return known is not None and any(s.origin.startswith(STAND_IN) for s, _ in known.scale.powers)


def _is_walked(value: Value) -> bool:
    """Is it met on a walk over a dictionary: what another caller opened, where one gives a file?"""
    known = number(value)
    return known is not None and any("[{('key of'" in symbol.origin for symbol, _ in known.scale.powers)


def _is_metadata(ledger: Ledger, origin: str) -> bool:
    """Is it the entry of a file's metadata, such as kohya's ``ss_network_alpha``?"""
    return any(
        isinstance(read.key, Text)
        and (read.key.literal or "").startswith(METADATA_PREFIX)
        and any(getattr(option.value, "path", "") == origin for option in options(read.value))
        for read in ledger.reads
    )


Declaration = tuple[str, ast.expr | None, ast.expr | None]
"""A name, its annotation and its default."""


def _places(ledger: Ledger, operand: Spot, name: str) -> Iterator[Declaration]:
    """Where a parameter or a field called ``name`` is declared, for the code at ``operand``."""
    own = operand.function
    if own is not None and name in own.parameters and not isinstance(operand.node, ast.Attribute):
        functions = [own]
    else:
        line = [] if operand.cls is None else ledger.lineage(operand.cls)
        functions = [method for cls in line for method in cls.methods.values()]
        for cls in line:
            for item in cls.node.body:
                match item:
                    case ast.AnnAssign(target=ast.Name(id=known)) | ast.Assign(targets=[ast.Name(id=known)]):
                        if known == name:
                            yield name, getattr(item, "annotation", None), item.value
    for function in functions:
        found = _parameter(function, name)
        if found is not None:
            yield name, found[0].annotation, found[1]


def _parameter(function: FunctionInfo, name: str) -> tuple[ast.arg, ast.expr | None] | None:
    given = function.node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + given.defaults
    both = [*zip(plain, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return next((pair for pair in both if pair[0].arg == name), None)


def _declared(name: str, annotation: ast.expr | None, default: ast.expr | None) -> str | None:
    """What makes a declared number a real one."""
    if annotation is not None:
        text = ast.unparse(annotation)
        return f"`{name}` is declared `{text}`" if "float" in text else None
    if isinstance(default, ast.Constant) and isinstance(default.value, float):
        return f"`{name}` has the default `{default.value}`"
    return None
