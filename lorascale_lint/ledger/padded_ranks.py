"""Alphas that are divided by the rank up to which factors are padded, and not by their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import PADS
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, words
from lorascale_lint.ledger.entries import KeyWrite, Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.provenance.values import Place, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class PaddedRank:
    """``quotient`` divides alpha by the common rank; ``padded`` is where a factor gets that many rows."""

    quotient: Spot
    padded: Spot


def padded_ranks(ledger: Ledger) -> Iterator[PaddedRank]:
    """One for each quotient."""
    seen: set[ast.AST] = set()
    for quotient in ledger.quotients:
        function, node = quotient.spot.function, quotient.spot.node
        if function is None or node in seen or quotient.spot.file.is_test or not _is_alpha(quotient):
            continue
        if _is_of_a_place(quotient):
            padded = _put_into_rows(ledger, function) or _padded(function, None, node)
        else:
            padded = _padded(function, _asked_for_its_shape(node), node)
        if padded is not None:
            seen.add(node)
            yield PaddedRank(quotient.spot, Spot(quotient.spot.file, function, quotient.spot.cls, padded))


def _is_alpha(quotient: Quotient) -> bool:
    scales = [scale_of(option.value) for option in options(quotient.value)]
    return any(s is not None and any(p.role == ALPHA for p, _ in s.powers) for s in scales)


def _is_of_a_place(quotient: Quotient) -> bool:
    """Is it divided by the most that there is room for: ``self.max_rank``?"""
    scales = [scale_of(option.value) for option in options(quotient.by)]
    return all(
        scale is not None
        and len(scale.powers) == 1
        and scale.powers[0][0].role == RANK
        and "max" in words(last_of(scale.powers[0][0].origin))
        for scale in scales
    )


def _put_into_rows(ledger: Ledger, function: FunctionInfo) -> ast.AST | None:
    """Where a factor is put into the first rows of a larger one: ``slots[i, :rank] = lora_a``."""
    for write in ledger.once(ByFunction).writes.get(function, ()):
        if (
            _is_factor(write)
            and isinstance(write.spot.node, ast.Subscript)
            and _is_cut(write.spot.node.slice)
        ):
            return write.spot.node
    return None


def _is_factor(write: KeyWrite) -> bool:
    return any(
        (isinstance(one, Tensor) and one.kind in FACTORS) or (isinstance(one, Place) and one.role in FACTORS)
        for one in (option.value for option in options(write.value))
    )


def _is_cut(key: ast.expr) -> bool:
    """Is there a slice that ends in a number which has a name?"""
    parts = key.elts if isinstance(key, ast.Tuple) else [key]
    return any(isinstance(part, ast.Slice) and isinstance(part.upper, ast.Name) for part in parts)


def _asked_for_its_shape(node: ast.AST) -> str:
    """``lora_a`` of ``alpha / lora_a.shape[0]``; empty for another divisor."""
    match node:
        case ast.BinOp(
            right=ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="shape"))
            | ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="size"))
        ):
            return name
        case _:
            return ""


def _padded(function: FunctionInfo, name: str | None, before: ast.AST) -> ast.AST | None:
    """Where the last thing that gets the name, or anything where there is none, is a padded one."""
    found: ast.Assign | None = None
    for node in function.nodes if name != "" else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=bound)]) if node.lineno < getattr(before, "lineno", 0):
                pads = any(_pads(part) for part in ast.walk(node.value))
                if name is None and pads:
                    return node
                found = node if bound == name else found
            case _:
                pass
    return found if found is not None and any(_pads(part) for part in ast.walk(found.value)) else None


def _pads(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in PADS
