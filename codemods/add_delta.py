"""Add the delta in a forward that replaces one which adds it, by the same code as that one."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lorascale_lint.codemods.statements import function_at, new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.omitted import Omitted
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.provenance.values import NONE, options
from lorascale_lint.sources.loc import Loc

_HELPER = "lora_delta"


@repair
def add_delta(ledger: Ledger, omitted: Omitted) -> Fix | None:
    """Move the delta of the base's forward to a method of its own, and add it in the override, too.

    Unsafe by definition: the output of the subclass changes.
    """
    rewrites = Rewrites(ledger.read_source)
    function, override, family = omitted.application.spot.function, omitted.override, omitted.family
    if function is None or function.parameters[0] != "self" or override.parameters[0] != "self":
        return None
    if omitted.others:
        return None  # a branch, or a call whose result is thrown away: where the delta belongs is not known
    base = _BaseForward.read(rewrites.of(function.file.filename), loc_of(function.file, function.node))
    if base is None:
        return None
    helper = base.helper
    if helper is None:
        if _HELPER in family.names(ledger):
            return None
        helper = _HELPER
        base.extract(helper)
    factor = family.setters[0].factors["A"].field
    may_be_unset = any(
        option.value == NONE
        for entry in ledger.stores
        if entry.field == factor and entry.spot.cls in family.members
        for option in options(entry.value)
    )
    test = f"self.{factor} is not None and {base.test}" if may_be_unset else base.test
    if not _add(rewrites.of(override.file.filename), omitted, test, helper):
        return None
    return rewrites.fix("unsafe", "Add the delta here, too")


class _BaseForward:
    """``if not self.merged: <delta>; out = base(x); return out + delta`` of a base class, taken apart."""

    def __init__(
        self,
        rewrite: Rewrite,
        loc: Loc,
        before: Sequence[cst.BaseStatement],
        branch: cst.If,
        total: cst.BinaryOperation,
        delta: cst.BaseExpression,
        activation: cst.Param,
    ) -> None:
        self.rewrite = rewrite
        self.loc = loc
        self.before = before
        self.branch = branch
        self.total = total
        self.delta = delta
        self.activation = activation
        self.test = rewrite.code(branch.test)

    @classmethod
    def read(cls, rewrite: Rewrite, name_loc: Loc) -> _BaseForward | None:
        """None if the method has another form."""
        found = function_at(rewrite, name_loc)
        if found is None or len(found[0].params.params) != 2:
            return None
        function, loc = found
        body = _statements(function.body)
        branch = next((item for item in body if isinstance(item, cst.If)), None)
        while branch is not None and not _returns(branch):
            later = body[body.index(branch) + 1 :]
            branch = next((item for item in later if isinstance(item, cst.If)), None)
        if branch is None or not isinstance(branch.body, cst.IndentedBlock):
            return None
        activation = function.params.params[1]
        totals = inside(branch.body.body[-1], cst.BinaryOperation, _adds)
        if len(totals) != 1 or _mentions(branch.test, activation.name.value):
            return None
        (total,) = totals
        bound = {name for line in branch.body.body for name in _bound(line)}
        sides = [total.left, total.right]
        outputs = {
            name for line in branch.body.body if inside(line, cst.Call, _is_own_call) for name in _bound(line)
        }
        deltas = [side for side in sides if not _names(side) & outputs]
        before = [item for item in body[: body.index(branch)] if not _is_docstring(item)]
        kept = [branch.test, branch.orelse, *body[body.index(branch) + 1 :]]
        if {name for line in before for name in _bound(line)} & {n for k in kept if k for n in _names(k)}:
            return None
        if len(deltas) != 1 or not all(_names(side) & bound or _is_own_call(side) for side in sides):
            return None
        return cls(rewrite, loc, before, branch, total, deltas[0], activation)

    @property
    def helper(self) -> str | None:
        """The method that makes the delta, if there is one."""
        return self.delta.func.attr.value if _is_own_call(self.delta) else None  # type: ignore[attr-defined]

    def extract(self, name: str) -> None:
        """Give the delta a method of its own, in front of this one."""
        lines = _statements(self.branch.body)
        base_calls = [line for line in lines[:-1] if inside(line, cst.Call, _is_own_call)]
        moved = [*self.before, *(line for line in lines[:-1] if line not in base_calls)]
        returned = cst.SimpleStatementLine([cst.Return(self.delta)])
        function = cst.ensure_type(self.rewrite.find(self.loc, cst.FunctionDef), cst.FunctionDef)
        helper = cst.FunctionDef(
            name=cst.Name(name),
            params=function.params,
            returns=function.returns,
            body=cst.IndentedBlock([*moved, returned]),
            leading_lines=[cst.EmptyLine(indent=False)],
        )
        call = cst.parse_expression(f"self.{name}({self.activation.name.value})")
        total = self.total.deep_replace(self.delta, call)
        last = lines[-1].deep_replace(self.total, total)
        body = self.branch.body.with_changes(body=[*base_calls, last])
        comments = [line for line in self.branch.leading_lines if line.comment is not None]
        branch = self.branch.with_changes(body=body, leading_lines=comments)
        kept = [item for item in function.body.body if item not in self.before]
        kept = [branch if item is self.branch else item for item in kept]
        changed = function.with_changes(body=function.body.with_changes(body=kept))
        self.rewrite.change(self.loc, cst.FunctionDef, lambda _: cst.FlattenSentinel([helper, changed]))


def _statements(suite: cst.BaseSuite) -> list[cst.BaseStatement]:
    return [line for line in suite.body if isinstance(line, cst.BaseStatement)]


def _is_own_call(node: cst.CSTNode) -> bool:
    match node:
        case cst.Call(func=cst.Attribute(value=cst.Name(value="self")), args=[cst.Arg(value=cst.Name())]):
            return True
        case _:
            return False


def _adds(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add)


def _returns(branch: cst.If) -> bool:
    match branch.body.body[-1]:
        case cst.SimpleStatementLine(body=[cst.Return(value=cst.BaseExpression())]):
            return True
        case _:
            return False


def _is_docstring(item: cst.BaseStatement) -> bool:
    match item:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString())]):
            return True
        case _:
            return False


def _names(node: cst.CSTNode) -> set[str]:
    return {found.value for found in inside(node, cst.Name)}


def _mentions(node: cst.CSTNode, name: str) -> bool:
    return name in _names(node)


def _bound(line: cst.CSTNode) -> set[str]:
    return {name for target in inside(line, cst.AssignTarget) for name in _names(target.target)}


def _add(rewrite: Rewrite, omitted: Omitted, test: str, helper: str) -> bool:
    """``output = base(x)`` is followed by ``if <unmerged>: output = output + self.delta(x)``."""
    found = rewrite.enclosing(omitted.base_call.spot.loc, cst.SimpleStatementLine)
    call = rewrite.find(omitted.base_call.spot.loc, cst.Call)
    if found is None or call is None:
        return False
    line = cst.ensure_type(found[0], cst.SimpleStatementLine)
    activation = next(
        (
            argument.value.value
            for argument in cst.ensure_type(call, cst.Call).args
            if isinstance(argument.value, cst.Name)
        ),
        None,
    )
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=output))], value=value)] if (
            value is call
        ):
            pass
        case _:
            return False
    if activation is None:
        return False
    source = f"if {test}:\n    {output} = {output} + self.{helper}({activation})\n"
    added = cst.ensure_type(new_statement(source, rewrite.module.config_for_parsing), cst.If)
    if not omitted.missing:
        rewrite.change(found[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, added]))
        return True
    broken = _broken_branch(rewrite, omitted)
    if broken is None:
        return False
    place = rewrite.positions[broken]
    rewrite.change(place, cst.If, lambda _: added.with_changes(leading_lines=broken.leading_lines))
    return True


def _broken_branch(rewrite: Rewrite, omitted: Omitted) -> cst.If | None:
    """The one ``if`` that all attributes stand in which nothing ever sets."""
    found: dict[int, cst.CSTNode] = {}
    for attribute in omitted.missing:
        around = rewrite.enclosing(attribute.loc, cst.If)
        if around is None:
            return None
        found[id(around[0])] = around[0]
    if len(found) != 1:
        return None
    (only,) = found.values()
    branch = cst.ensure_type(only, cst.If)
    return branch if branch.orelse is None and len(branch.body.body) == 1 else None
