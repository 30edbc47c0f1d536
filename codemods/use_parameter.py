"""Use a parameter where the attribute is used that it takes the place of."""

from __future__ import annotations

from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import function_at
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.linking.definitions import FunctionInfo


@repair
def use_parameter(ledger: Ledger, function: FunctionInfo, name: str) -> Fix | None:
    """After ``if strength is None: strength = self.strength``, ``self.strength`` becomes ``strength``.

    Unsafe by definition: callers who give a strength get it.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(function.file.filename)
    found = function_at(rewrite, loc_of(function.file, function.node))
    if found is None or function.owner is None or function.is_static:
        return None
    receiver = function.parameters[0]
    own = partial(_is_attribute, owner=receiver)
    bound = [
        node
        for node in inside(found[0], cst.Assign)
        if len(node.targets) == 1 and _is_name(node.targets[0].target, name)
    ]
    if len(bound) != 1:
        return None
    defaults = inside(bound[0].value, cst.Attribute, own)
    if len(defaults) != 1:
        return None
    (default,) = defaults
    attribute = default.attr.value
    targets = (node.target for node in inside(found[0], cst.AssignTarget))
    if any(isinstance(target, cst.Attribute) and target.attr.value == attribute for target in targets):
        return None
    end = rewrite.positions[bound[0]].end_row
    uses = [
        node
        for node in inside(found[0].body, cst.Attribute, own)
        if node.attr.value == attribute and node is not default
    ]
    if not uses or any(rewrite.positions[use].row <= end for use in uses):
        return None
    for use in uses:
        rewrite.replace(use, cst.Name(name))
    return rewrites.fix("unsafe", f"Use `{name}`")


def _is_name(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Name) and node.value == name


def _is_attribute(node: cst.CSTNode, owner: str) -> bool:
    return isinstance(node, cst.Attribute) and _is_name(node.value, owner)
