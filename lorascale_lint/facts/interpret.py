"""Symbolic execution of one function: statements in order, every expression as a term.

Branches are both taken and joined to a `Choice`; a loop body runs once, and what it binds is
joined with what was there before. That is enough to see where a factor, a scale or a key came
from, in time linear in the size of the function.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import libcst as cst

from lorascale_lint.facts.nodes import parts
from lorascale_lint.facts.terms import (
    DEPTH_LIMIT,
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    FunctionFacts,
    Global,
    Guard,
    Item,
    Loc,
    Local,
    Logic,
    Mapping,
    Negative,
    Not,
    Op,
    Opaque,
    Param,
    Parameter,
    Sequence,
    Term,
    Text,
    children,
)
from lorascale_lint.sources.positions import Positions

GUARD_LIMIT = 40
"""Guards kept per event; a function with more early exits loses the oldest."""

_BINARY: dict[type[cst.CSTNode], str] = {
    cst.Add: "+", cst.Subtract: "-", cst.Multiply: "*", cst.Divide: "/", cst.FloorDivide: "//",
    cst.Modulo: "%", cst.Power: "**", cst.MatrixMultiply: "@",
    cst.AddAssign: "+", cst.SubtractAssign: "-", cst.MultiplyAssign: "*", cst.DivideAssign: "/",
    cst.FloorDivideAssign: "//", cst.PowerAssign: "**", cst.MatrixMultiplyAssign: "@",
    cst.Equal: "==", cst.NotEqual: "!=", cst.LessThan: "<", cst.GreaterThan: ">",
    cst.LessThanEqual: "<=", cst.GreaterThanEqual: ">=", cst.Is: "is", cst.IsNot: "is not",
    cst.In: "in", cst.NotIn: "not in",
}  # fmt: skip


@dataclass
class Scope:
    """What is shared by the functions of one file while they are executed."""

    positions: Positions
    functions: list[FunctionFacts] = field(default_factory=list)

    def loc(self, node: cst.CSTNode) -> Loc:
        """Source range of ``node``."""
        return self.positions[node]


@dataclass(frozen=True, slots=True)
class _Exit:
    """A ``break`` (``leaves_loop``) or ``continue``: what names are bound to where it stands."""

    leaves_loop: bool
    guards: tuple[Guard, ...]
    env: dict[str, Term]


class Interpreter:
    """Executes the body of one function and collects its events."""

    def __init__(self, scope: Scope, qualname: str, environment: dict[str, Term]) -> None:
        self.scope = scope
        self.qualname = qualname
        self.env = environment
        self.events: list[Event] = []
        self.guards: tuple[Guard, ...] = ()
        self.row = self.end_row = 1
        self.depths: dict[int, int] = {}
        self.kept: list[Term] = []
        """Terms whose ids are keys of ``depths`` must stay alive."""
        self.raised = False
        """Did the statement that ended the last block raise?"""
        self.exits: list[_Exit] = []
        """Ways out of the innermost loop's body other than its end."""

    # ---- statements -------------------------------------------------------------------

    def block(self, body: cst.BaseSuite) -> bool:
        """Execute a suite; True if control never reaches its end."""
        outer = self.guards
        ended = False
        for statement in body.body:
            if ended:
                break
            ended = self.statement(statement)
        if ended:
            self.guards = outer
        return ended

    def statement(self, statement: cst.CSTNode) -> bool:
        """Execute one statement; True if control never goes on behind it."""
        if isinstance(statement, cst.SimpleStatementLine):
            ends = [self._small(item, statement) for item in statement.body]
            return any(ends)
        if isinstance(statement, cst.BaseSmallStatement):
            return self._small(statement, statement)
        return self._compound(statement)

    def _enter(self, node: cst.CSTNode) -> Loc:
        loc = self.scope.loc(node)
        self.row, self.end_row = loc.row, loc.end_row
        return loc

    def _small(self, statement: cst.BaseSmallStatement, holder: cst.CSTNode) -> bool:
        loc = self._enter(holder)
        match statement:
            case cst.Assign():
                value = self.expr(statement.value)
                for target in statement.targets:
                    self.assign(target.target, value)
            case cst.AnnAssign():
                if statement.value is not None:
                    self.assign(statement.target, self.expr(statement.value))
            case cst.AugAssign():
                self._augment(statement)
            case cst.Return():
                self.raised = False
                value = Const(None, loc) if statement.value is None else self.expr(statement.value)
                self._emit("return", value, loc)
                return True
            case cst.Raise():
                raised: Term = Opaque(loc) if statement.exc is None else self.expr(statement.exc)
                self._emit("raise", raised, loc)
                self.raised = True
                return True
            case cst.Continue() | cst.Break():
                self.raised = False
                self.exits.append(_Exit(isinstance(statement, cst.Break), self.guards, dict(self.env)))
                return True
            case cst.Assert():
                self._assume(self.expr(statement.test), True, required=True)
            case cst.Expr():
                self._expression_statement(statement.value)
            case cst.Del():
                pass
            case _:
                pass
        return False

    def _expression_statement(self, node: cst.BaseExpression) -> None:
        value = self.expr(node)
        if not isinstance(value, Call) or not isinstance(node, cst.Call):
            return
        receiver: cst.CSTNode = node
        while isinstance(receiver, cst.Call) and isinstance(receiver.func, cst.Attribute):
            name = receiver.func.attr.value
            if not name.endswith("_") or name.startswith("_"):
                break
            receiver = receiver.func.value
        if isinstance(receiver, cst.Name):  # ``delta.mul_(s).clamp_()`` rebinds ``delta`` for this analysis
            self._bind(receiver.value, value)
        for argument in node.args:
            if argument.keyword is not None and argument.keyword.value == "out":
                self.assign(argument.value, value)
        if isinstance(value.func, Global) and value.func.name == "setattr" and len(value.args) == 3:
            owner, attribute, stored = value.args
            if isinstance(attribute, Const) and isinstance(attribute.value, str):
                target = Attr(owner, attribute.value, value.loc)
                self._emit("write", stored, value.loc, target=target)

    def _augment(self, statement: cst.AugAssign) -> None:
        loc = self.scope.loc(statement)
        sign = _BINARY.get(type(statement.operator), "?")
        old = self.expr(statement.target)
        value = self.expr(statement.value)
        self._emit("write", value, loc, target=old, sign=sign)
        if isinstance(statement.target, cst.Name):
            self._bind(statement.target.value, Op(sign, old, value, loc))

    def assign(self, target: cst.BaseExpression, value: Term) -> None:
        """Bind a name, unpack a tuple, or record a write to an attribute or an item."""
        match target:
            case cst.Name():
                self._bind(target.value, value)
                self._emit("bind", value, self.scope.loc(target), name=target.value)
            case cst.Tuple() | cst.List():
                for index, element in enumerate(target.elements):
                    part: Term
                    if isinstance(value, Sequence) and not value.repeated and index < len(value.items):
                        part = value.items[index]
                    else:
                        part = Item(value, Const(index, self.scope.loc(element)), self.scope.loc(element))
                    self.assign(element.value, part)
            case cst.StarredElement():
                self.assign(target.value, Opaque(self.scope.loc(target)))
            case cst.Attribute() | cst.Subscript():
                self._emit("write", value, self.scope.loc(target), target=self.expr(target))
            case _:
                pass

    def _bind(self, name: str, value: Term) -> None:
        self.env[name] = self._bounded(value)

    def _bounded(self, term: Term) -> Term:
        return term if self._depth(term) < DEPTH_LIMIT else Opaque(term.loc)

    def _depth(self, term: Term) -> int:
        known = self.depths.get(id(term))
        if known is None:
            known = 1 + max((self._depth(child) for child in children(term)), default=0)
            self.depths[id(term)] = known
            self.kept.append(term)
        return known

    def _compound(self, statement: cst.CSTNode) -> bool:
        match statement:
            case cst.If():
                return self._if(statement)
            case cst.For():
                self._enter(statement.iter)
                source = self.expr(statement.iter)
                self._loop(
                    statement.body,
                    statement.orelse,
                    lambda: self.assign(statement.target, Element(source, self.scope.loc(statement.target))),
                )
            case cst.While():
                self._enter(statement.test)
                test = self.expr(statement.test)
                self._emit("test", test, test.loc)
                self._loop(statement.body, statement.orelse, lambda: self._assume(test, True))
            case cst.With():
                for item in statement.items:
                    self._enter(item)
                    value = self.expr(item.item)
                    if item.asname is not None:
                        self.assign(item.asname.name, value)
                return self.block(statement.body)
            case cst.Try() | cst.TryStar():
                return self._try(statement)
            case cst.Match():
                self._match(statement)
            case cst.FunctionDef():
                qualname = f"{self.qualname}.{statement.name.value}"
                execute_function(self.scope, statement, qualname, "", dict(self.env))
                self.env[statement.name.value] = Local(qualname, self.scope.loc(statement.name))
            case _:
                pass
        return False

    def _if(self, statement: cst.If) -> bool:
        self._enter(statement.test)
        test = self.expr(statement.test)
        self._emit("test", test, test.loc)
        guards, before = self.guards, dict(self.env)

        self._assume(test, True)
        then_ended = self.block(statement.body)
        then_raised = then_ended and self.raised
        after_then, self.env = self.env, before
        after_then_guards = self.guards

        self.guards = guards
        self._assume(test, False, required=then_raised)
        match statement.orelse:
            case cst.If():
                else_ended = self._if(statement.orelse)
            case cst.Else():
                else_ended = self.block(statement.orelse.body)
            case _:
                else_ended = False

        if then_ended and else_ended:
            self.guards = guards
            return True
        if then_ended:
            return False  # the rest runs only where the test failed
        if else_ended:
            self.env, self.guards = after_then, after_then_guards
            return False
        self.env = self._join(test, after_then, self.env)
        self.guards = guards
        return False

    def _join(self, test: Term | None, then: dict[str, Term], other: dict[str, Term]) -> dict[str, Term]:
        joined: dict[str, Term] = {}
        for name in {**then, **other}:
            left, right = then.get(name), other.get(name)
            if left is right or right is None:
                joined[name] = left if left is not None else Opaque()
            elif left is None:
                joined[name] = right
            else:
                choice = Choice(test, left, right, left.loc)
                joined[name] = self._bounded(choice)
        return joined

    def _loop(self, body: cst.BaseSuite, orelse: cst.Else | None, enter: Callable[[], None]) -> None:
        guards, before, outer = self.guards, dict(self.env), self.exits
        self.exits = []
        enter()
        inside = self.guards
        self.block(body)
        exits, self.exits = self.exits, outer
        self._leave([way for way in exits if not way.leaves_loop], inside)
        self.env = self._join(None, self.env, before)
        self.guards = guards
        if orelse is not None:
            self.block(orelse.body)
        self._leave([way for way in exits if way.leaves_loop], inside)

    def _leave(self, exits: list[_Exit], inside: tuple[Guard, ...]) -> None:
        """Join what names were bound to where a loop's body was left with what they are bound to now."""
        for way in exits:
            own = way.guards[len(inside) :]
            if len(own) != 1:  # under several conditions, none of which decides alone
                self.env = self._join(None, way.env, self.env)
            elif own[0].holds:
                self.env = self._join(own[0].test, way.env, self.env)
            else:
                self.env = self._join(own[0].test, self.env, way.env)

    def _try(self, statement: cst.Try | cst.TryStar) -> bool:
        guards, before = self.guards, dict(self.env)
        ended = self.block(statement.body)
        if not ended and statement.orelse is not None:
            ended = self.block(statement.orelse.body)
        outcome = None if ended else self.env
        for handler in statement.handlers:
            self.env, self.guards = dict(before), guards
            if not self.block(handler.body):
                outcome = self.env if outcome is None else self._join(None, outcome, self.env)
        self.env, self.guards = outcome if outcome is not None else before, guards
        if statement.finalbody is not None and self.block(statement.finalbody.body):
            return True
        return outcome is None

    def _match(self, statement: cst.Match) -> None:
        subject = self.expr(statement.subject)
        guards, before = self.guards, dict(self.env)
        outcome = dict(before)
        for case in statement.cases:
            self.env, self.guards = dict(before), guards
            for name in _captured(case.pattern):
                self.env[name] = Element(subject, self.scope.loc(case))
            self._assume_pattern(case.pattern, subject)
            for guard in self.guards[len(guards) :]:
                self._emit("test", guard.test, guard.test.loc)
            if case.guard is not None:
                self._assume(self.expr(case.guard), True)
            if not self.block(case.body):
                outcome = self._join(None, self.env, outcome)
        self.env, self.guards = outcome, guards

    def _assume_pattern(self, pattern: cst.MatchPattern, subject: Term) -> None:
        """``case "alpha":`` is a comparison, ``case [name, "alpha"]:`` a test for membership."""
        loc = self.scope.loc(pattern)
        match pattern:
            case cst.MatchValue(value=value):
                self._assume(Op("==", subject, self.expr(value), loc), True)
            case cst.MatchOr(patterns=patterns):
                values = [item.pattern.value for item in patterns if isinstance(item.pattern, cst.MatchValue)]
                if len(values) == len(patterns):
                    options = Sequence(tuple(map(self.expr, values)), False, loc)
                    self._assume(Op("in", subject, options, loc), True)
            case cst.MatchAs(pattern=cst.MatchPattern() as inner):
                self._assume_pattern(inner, subject)
            case cst.MatchList(patterns=parts) | cst.MatchTuple(patterns=parts):
                for part in parts:
                    if isinstance(part, cst.MatchSequenceElement) and isinstance(part.value, cst.MatchValue):
                        self._assume(Op("in", self.expr(part.value.value), subject, loc), True)
            case _:
                pass

    def _assume(self, test: Term, holds: bool, *, required: bool = False) -> None:
        while isinstance(test, Not):
            test, holds = test.operand, not holds
        self.guards = (*self.guards[-GUARD_LIMIT:], Guard(test, holds, required))

    def _emit(
        self, kind: str, value: Term, loc: Loc, *, target: Term | None = None, sign: str = "", name: str = ""
    ) -> None:
        self.events.append(Event(kind, value, self.guards, loc, self.row, self.end_row, target, sign, name))

    # ---- expressions ------------------------------------------------------------------

    def expr(self, node: cst.BaseExpression) -> Term:
        """The term that ``node`` computes here; its inner part is `Opaque` where it is too deep."""
        return self._bounded(self._expr(node))

    def _expr(self, node: cst.BaseExpression) -> Term:
        match node:
            case cst.Name():
                bound = self.env.get(node.value)
                return bound if bound is not None else _name(node.value, self.scope.loc(node))
            case cst.Attribute():
                return Attr(self.expr(node.value), node.attr.value, self.scope.loc(node))
            case cst.Call():
                return self._call(node)
            case cst.Subscript():
                return Item(self.expr(node.value), self._key(node), self.scope.loc(node))
            case cst.BinaryOperation():
                sign = _BINARY.get(type(node.operator), "?")
                return Op(sign, self.expr(node.left), self.expr(node.right), self.scope.loc(node))
            case cst.BooleanOperation():
                sign = "and" if isinstance(node.operator, cst.And) else "or"
                return Logic(sign, self.expr(node.left), self.expr(node.right), self.scope.loc(node))
            case cst.UnaryOperation():
                return self._unary(node)
            case cst.Comparison():
                return self._comparison(node)
            case cst.IfExp():
                test = self.expr(node.test)
                self._emit("test", test, test.loc)
                return Choice(test, self.expr(node.body), self.expr(node.orelse), self.scope.loc(node))
            case cst.Integer() | cst.Float():
                return Const(ast.literal_eval(node.value), self.scope.loc(node))
            case cst.SimpleString() | cst.ConcatenatedString():
                return Const(_literal_text(node), self.scope.loc(node))
            case cst.FormattedString():
                return self._text(node)
            case cst.NamedExpr():
                value = self.expr(node.value)
                self.assign(node.target, value)
                return value
            case cst.Tuple() | cst.List() | cst.Set():
                items = tuple(self.expr(element.value) for element in node.elements)
                return Sequence(items, False, self.scope.loc(node))
            case cst.Dict():
                pairs = tuple(
                    (self.expr(e.key), self.expr(e.value))
                    for e in node.elements
                    if isinstance(e, cst.DictElement)
                )
                return Mapping(pairs, self.scope.loc(node))
            case cst.ListComp() | cst.SetComp() | cst.GeneratorExp():
                return self._comprehension(
                    node.for_in,
                    lambda guards: Sequence((self.expr(node.elt),), True, self.scope.loc(node), guards),
                )
            case cst.DictComp():
                return self._comprehension(
                    node.for_in,
                    lambda guards: Mapping(
                        ((self.expr(node.key), self.expr(node.value)),), self.scope.loc(node), guards
                    ),
                )
            case cst.Lambda():
                return self._lambda(node)
            case cst.Await():
                return self.expr(node.expression)
            case cst.Yield():
                if isinstance(node.value, cst.BaseExpression):
                    value = self.expr(node.value)
                    self._emit("yield", value, self.scope.loc(node))
                return Opaque(self.scope.loc(node))
            case _:
                return Opaque(self.scope.loc(node))

    def _call(self, node: cst.Call) -> Term:
        func = self.expr(node.func)
        args: list[Term] = []
        keywords: list[tuple[str, Term]] = []
        spread = False
        for argument in node.args:
            value = self.expr(argument.value)
            if argument.star:
                spread = True
            elif argument.keyword is not None:
                keywords.append((argument.keyword.value, value))
            elif not spread:
                args.append(value)
        call = Call(func, tuple(args), tuple(keywords), spread, self.scope.loc(node))
        self._emit("call", call, call.loc)
        return call

    def _key(self, node: cst.Subscript) -> Term:
        if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
            return self.expr(node.slice[0].slice.value)
        return Opaque(self.scope.loc(node))

    def _unary(self, node: cst.UnaryOperation) -> Term:
        operand = self.expr(node.expression)
        match node.operator:
            case cst.Not():
                return Not(operand, self.scope.loc(node))
            case cst.Minus():
                return Negative(operand, self.scope.loc(node))
            case _:
                return operand

    def _comparison(self, node: cst.Comparison) -> Term:
        loc = self.scope.loc(node)
        left = self.expr(node.left)
        result: Term | None = None
        for part in node.comparisons:
            right = self.expr(part.comparator)
            single: Term = Op(_BINARY.get(type(part.operator), "?"), left, right, loc)
            result = single if result is None else self._bounded(Logic("and", result, single, loc))
            left = right
        return result if result is not None else Opaque(loc)

    def _text(self, node: cst.FormattedString) -> Term:
        parts: list[Term] = []
        for part in node.parts:
            if isinstance(part, cst.FormattedStringText):
                parts.append(Const(part.value, self.scope.loc(part)))
            elif isinstance(part, cst.FormattedStringExpression):
                parts.append(self.expr(part.expression))
        return Text(tuple(parts), self.scope.loc(node))

    def _comprehension(self, clause: cst.CompFor, finish: Callable[[tuple[Guard, ...]], Term]) -> Term:
        """``finish`` makes the term of an element, and is given the conditions under which it is made."""
        outer, guards = dict(self.env), self.guards
        conditions: list[Guard] = []
        current: cst.CompFor | None = clause
        while current is not None:
            source = self.expr(current.iter)
            self.assign(current.target, Element(source, self.scope.loc(current.target)))
            for condition in current.ifs:
                test = self.expr(condition.test)
                self._emit("test", test, test.loc)
                self._assume(test, True)
                conditions.append(self.guards[-1])
            current = current.inner_for_in
        value = finish(tuple(conditions))
        self.env, self.guards = outer, guards
        return value

    def _lambda(self, node: cst.Lambda) -> Term:
        loc = self.scope.loc(node)
        qualname = f"{self.qualname}.<lambda:{loc.row}:{loc.column}>"
        inner = Interpreter(self.scope, qualname, dict(self.env))
        parameters = inner.bind_parameters(node.params)
        inner.row, inner.end_row = self.row, self.end_row
        inner._emit("return", inner.expr(node.body), self.scope.loc(node.body))
        self.scope.functions.append(
            FunctionFacts(qualname, "", parameters, (), tuple(inner.events), words_of(node), loc)
        )
        return Local(qualname, loc)

    def bind_parameters(self, params: cst.Parameters) -> tuple[Parameter, ...]:
        """Bind every parameter to its `Param` and describe them in order."""
        found: list[Parameter] = []

        def add(param: cst.Param, kind: str) -> None:
            name, loc = param.name.value, self.scope.loc(param)
            default = None if param.default is None else self.expr(param.default)
            note = "" if param.annotation is None else _code(param.annotation.annotation)
            found.append(Parameter(name, kind, default, note, loc))

        for param in (*params.posonly_params, *params.params):
            add(param, "plain")
        if isinstance(params.star_arg, cst.Param):
            add(params.star_arg, "args")
        for param in params.kwonly_params:
            add(param, "keyword")
        if params.star_kwarg is not None:
            add(params.star_kwarg, "kwargs")
        for parameter in found:
            self.env[parameter.name] = Param(self.qualname, parameter.name, parameter.loc)
        return tuple(found)


def execute_function(
    scope: Scope, node: cst.FunctionDef, qualname: str, class_name: str, environment: dict[str, Term]
) -> None:
    """Execute a function definition and add its facts (and those of nested ones) to ``scope``."""
    inner = Interpreter(scope, qualname, environment)
    parameters = inner.bind_parameters(node.params)
    decorators = tuple(_code(decorator.decorator) for decorator in node.decorators)
    inner.block(node.body)
    scope.functions.append(
        FunctionFacts(
            qualname,
            class_name,
            parameters,
            decorators,
            tuple(inner.events),
            words_of(node),
            scope.loc(node.name),
        )
    )


def words_of(node: cst.CSTNode) -> frozenset[str]:
    """All identifiers and string literals below ``node``."""
    words: set[str] = set()
    pending: list[cst.CSTNode] = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, cst.Name | cst.SimpleString | cst.FormattedStringText):
            words.add(current.value)
        else:
            pending.extend(parts(current))
    return frozenset(words)


def _captured(pattern: cst.MatchPattern) -> Iterable[str]:
    pending: list[cst.CSTNode] = [pattern]
    while pending:
        current = pending.pop()
        if isinstance(current, cst.MatchAs | cst.MatchStar) and current.name is not None:
            yield current.name.value
        pending.extend(parts(current))


def _literal_text(node: cst.SimpleString | cst.ConcatenatedString) -> str:
    """The text of a string literal; empty for bytes, and for escapes that Python itself refuses."""
    try:
        evaluated = node.evaluated_value
    except (SyntaxError, ValueError):
        return ""
    return evaluated if isinstance(evaluated, str) else ""


def _name(name: str, loc: Loc) -> Term:
    constants: dict[str, bool | None] = {"None": None, "True": True, "False": False}
    return Const(constants[name], loc) if name in constants else Global(name, loc)


_EMPTY = cst.Module(())


def _code(node: cst.CSTNode) -> str:
    return _EMPTY.code_for_node(node)
