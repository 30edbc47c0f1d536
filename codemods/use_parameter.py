"""Use a parameter where the attribute is used that it takes the place of."""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m

from lorascale_lint.codemods.statements import function_at
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
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
    own = m.Attribute(value=m.Name(receiver))
    bound = [
        cst.ensure_type(node, cst.Assign)
        for node in m.findall(found[0], m.Assign(targets=[m.AssignTarget(target=m.Name(name))]))
    ]
    if len(bound) != 1:
        return None
    defaults = m.findall(bound[0].value, own)
    if len(defaults) != 1:
        return None
    (default,) = defaults
    attribute = cst.ensure_type(default, cst.Attribute).attr.value
    if m.findall(found[0], m.AssignTarget(target=m.Attribute(attr=m.Name(attribute)))):
        return None
    end = rewrite.positions[bound[0]].end_row
    uses = [
        node
        for node in m.findall(found[0].body, m.Attribute(value=m.Name(receiver), attr=m.Name(attribute)))
        if node is not default
    ]
    if not uses or any(rewrite.positions[use].row <= end for use in uses):
        return None
    for use in uses:
        rewrite.replace(use, cst.Name(name))
    return rewrites.fix("unsafe", f"Use `{name}`")
