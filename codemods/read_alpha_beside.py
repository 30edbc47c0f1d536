"""Read alpha beside the factors of a file, and scale their product."""

from __future__ import annotations

import re
from collections.abc import Collection

import libcst as cst

from lorascale_lint.codemods.alpha_keys import assigned_subscript, split_key
from lorascale_lint.codemods.statements import times
from lorascale_lint.codemods.whole_files import free_names
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.deltas import delta_of
from lorascale_lint.ledger.entries import Apply, Norm
from lorascale_lint.ledger.fates import Fate
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.sources.loc import Loc

_DOWN = re.compile(r"(?i)(\w+_)?(lora_?)?down(_\w+)?")
_KEPT = frozenset("permute transpose squeeze unsqueeze reshape view to float half contiguous t".split())


@repair
def read_alpha_beside(ledger: Ledger, fates: Collection[Fate], fate: Fate, place: Apply | Norm) -> Fix | None:
    """``down = sd[key]`` is followed by ``scale = sd.get(<alpha key>, rank) / rank``, for its product.

    For ``lora_down`` keys only, beside which alpha stands, and dictionaries that nothing filtered. Safe: an
    alpha that equals the rank gives 1, and so does a missing one.
    """
    function = place.spot.function
    looked_up = [spot for _, spot, _ in fate.looked_up]
    if function is None or any(spot.function is not function for spot in looked_up):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(place.spot.file.filename)
    scope = rewrite.enclosing(place.spot.loc, cst.FunctionDef)
    if scope is None or "lora_down" not in rewrite.code(scope[0]):
        return None
    lines = [assigned_subscript(rewrite, spot.loc) for spot in looked_up]
    found = [line for line in lines if line is not None and _DOWN.fullmatch(line[1])]
    if len({rewrite.positions[line] for line, _, _ in found}) != 1:
        return None
    line, local, subscript = found[0]
    key = split_key(rewrite, subscript, ".lora_down")
    whole = all(one.reads_file_at(looked_up[0].node) for one in fates)
    if key is None or not isinstance(subscript.value, cst.Name) or not whole:
        return None
    names = free_names(rewrite, scope[0], "rank", "scale")
    if names is None or not _is_within(rewrite, line, place.spot.loc):
        return None
    rank, scale = names
    if not _scale(rewrite, fate, place, scale):
        return None
    added = [
        cst.parse_statement(f"{rank} = {local}.shape[0]"),
        cst.parse_statement(f"{scale} = float({subscript.value.value}.get({key}, {rank})) / {rank}"),
    ]
    rewrite.change(
        rewrite.positions[line],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel([node, *added]),
    )
    return rewrites.fix("safe", "Multiply by alpha / rank of the file")


def _scale(rewrite: Rewrite, fate: Fate, place: Apply | Norm, scale: str) -> bool:
    """Multiply what is added to the base, or each product whose norm is taken."""
    if isinstance(place, Apply):
        delta = delta_of(place)
        nodes = [] if delta is None else [rewrite.expression(loc_of(place.spot.file, delta))]
    else:
        nodes = []
        for product in fate.ledger.products:
            if product.kind == "delta" and product.spot.function is place.spot.function:
                node = rewrite.expression(product.spot.loc)
                nodes.append(None if node is None else _with_conversions(rewrite, node))
    known = list(dict.fromkeys(node for node in nodes if node is not None))
    for node in known:
        rewrite.replace(node, times(node, scale))
    return bool(known)


def _is_within(rewrite: Rewrite, line: cst.SimpleStatementLine, place: Loc) -> bool:
    """Does ``place`` come after ``line``, wherever the program went on from there?"""
    after = rewrite.positions[line].end_row < place.row
    block = rewrite.enclosing(rewrite.positions[line], cst.IndentedBlock)
    return after and block is not None and place.end_row <= block[1].end_row


def _with_conversions(rewrite: Rewrite, node: cst.BaseExpression) -> cst.BaseExpression:
    """``node`` with the conversions that are called on it."""
    attribute = rewrite.tree.parent(node)
    call = None if attribute is None else rewrite.tree.parent(attribute)
    if not isinstance(attribute, cst.Attribute) or attribute.attr.value not in _KEPT:
        return node
    return _with_conversions(rewrite, call) if isinstance(call, cst.Call) and call.func is attribute else node
