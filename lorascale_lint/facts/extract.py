"""Facts of one file from its bytes: a pure function, so that it can be cached and run anywhere."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.interpret import Interpreter, Scope, execute_function, words_of
from lorascale_lint.facts.terms import (
    Attr,
    ClassAttribute,
    ClassFacts,
    FileFacts,
    FunctionFacts,
    Global,
    Local,
    Term,
)
from lorascale_lint.sources.positions import Positions

MODULE = "<module>"
"""Qualified name of the function that stands for a module's top level; each statement stands alone."""
SCRIPT = "<script>"
"""Qualified name of the function that runs the top level of a script from beginning to end."""


def extract_facts(source: bytes | str, module: str = "") -> FileFacts:
    """Facts of ``source``; ``module`` is its dotted name, for relative imports.

    Raises:
        libcst.ParserSyntaxError: the source is not valid Python.
        UnicodeDecodeError: the bytes are not in the declared encoding.
    """
    tree = cst.parse_module(source)
    scope = Scope(Positions(tree))
    imports: dict[str, str] = {}
    classes: list[ClassFacts] = []
    top = Interpreter(scope, MODULE, {})
    collector = _Definitions(scope, top, imports, classes, module)
    collector.suite(tree, "")
    scope.functions.append(FunctionFacts(MODULE, "", (), (), tuple(top.events), frozenset(), scope.loc(tree)))
    script = _script(scope, tree)
    if script is not None:
        scope.functions.append(script)
    return FileFacts(imports, tuple(classes), tuple(scope.functions), tuple(dict.fromkeys(collector.stars)))


def _script(scope: Scope, tree: cst.Module) -> FunctionFacts | None:
    """The top level of a module that does its work there, in loops, as a function; None for other modules."""
    body = [
        statement
        for statement in tree.body
        if isinstance(statement, cst.SimpleStatementLine | cst.For | cst.While | cst.If | cst.With)
        and not any(isinstance(node, cst.FunctionDef | cst.ClassDef) for node in _statements(statement))
    ]
    if not any(isinstance(node, cst.For | cst.While) for item in body for node in _statements(item)):
        return None
    interpreter = Interpreter(scope, SCRIPT, {})
    for statement in body:
        if interpreter.statement(statement):
            break
    words = frozenset(word for statement in body for word in words_of(statement))
    return FunctionFacts(SCRIPT, "", (), (), tuple(interpreter.events), words, scope.loc(tree))


def _statements(statement: cst.CSTNode) -> list[cst.CSTNode]:
    """``statement`` and the statements inside it."""
    found = [statement]
    for node in found:
        if isinstance(node, cst.BaseCompoundStatement):
            suite = getattr(node, "body", None)
            found += getattr(suite, "body", ())
            orelse = getattr(node, "orelse", None)
            if orelse is not None:
                found += [orelse] if isinstance(orelse, cst.If) else orelse.body.body
    return found


class _Definitions:
    """Walks the top level and class bodies, executing what it finds."""

    def __init__(
        self, scope: Scope, top: Interpreter, imports: dict[str, str], classes: list[ClassFacts], module: str
    ) -> None:
        self.scope = scope
        self.top = top
        self.imports = imports
        self.classes = classes
        self.package = module.rpartition(".")[0]
        self.stars: list[str] = []

    def suite(self, body: cst.Module | cst.BaseSuite, prefix: str) -> None:
        """Definitions in ``body``; ``prefix`` is the qualified name of the enclosing class, with a dot."""
        for statement in body.body:
            match statement:
                case cst.FunctionDef():
                    name = prefix + statement.name.value
                    if not prefix:
                        self.top.env.pop(name, None)
                    execute_function(self.scope, statement, name, prefix.rstrip("."), {})
                case cst.ClassDef():
                    self._class(statement, prefix)
                case cst.SimpleStatementLine():
                    self._imports(statement)
                    if not prefix:
                        self.top.statement(statement)
                        self.top.env.clear()  # module names stay `Global`, resolved by the linker
                case cst.If() | cst.Try() | cst.With():
                    self._nested(statement, prefix)
                case _:
                    if not prefix and isinstance(statement, cst.For | cst.While | cst.Match):
                        self.top.statement(statement)
                        self.top.env.clear()

    def _nested(self, statement: cst.If | cst.Try | cst.With, prefix: str) -> None:
        """``if TYPE_CHECKING:``, ``try: import ... except`` and ``if __name__ == "__main__":``."""
        self.suite(statement.body, prefix)
        if isinstance(statement, cst.Try):
            for handler in statement.handlers:
                self.suite(handler.body, prefix)
        orelse = getattr(statement, "orelse", None)
        if isinstance(orelse, cst.Else):
            self.suite(orelse.body, prefix)
        elif isinstance(orelse, cst.If):
            self._nested(orelse, prefix)

    def _class(self, node: cst.ClassDef, prefix: str) -> None:
        name = prefix + node.name.value
        bases = tuple(self.top.expr(base.value) for base in node.bases)
        attributes: list[ClassAttribute] = []
        methods = [item.name.value for item in node.body.body if isinstance(item, cst.FunctionDef)]
        for item in node.body.body:
            if isinstance(item, cst.SimpleStatementLine):
                for small in item.body:
                    attributes.extend(self._attribute(small))
        self.classes.append(
            ClassFacts(name, bases, tuple(attributes), tuple(methods), self.scope.loc(node.name))
        )
        self.suite(node.body, name + ".")

    def _attribute(self, node: cst.BaseSmallStatement) -> list[ClassAttribute]:
        match node:
            case cst.AnnAssign(target=cst.Name() as target):
                value = None if node.value is None else self.top.expr(node.value)
                note = cst.Module(()).code_for_node(node.annotation.annotation)
                return [ClassAttribute(target.value, value, note, self.scope.loc(node))]
            case cst.Assign():
                value = self.top.expr(node.value)
                return [
                    ClassAttribute(target.target.value, value, "", self.scope.loc(node))
                    for target in node.targets
                    if isinstance(target.target, cst.Name)
                ]
            case _:
                return []

    def _imports(self, line: cst.SimpleStatementLine) -> None:
        for node in line.body:
            match node:
                case cst.Import():
                    for alias in node.names:
                        dotted = _dotted(alias.name)
                        if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                            self.imports[alias.asname.name.value] = dotted
                        else:
                            head = dotted.partition(".")[0]
                            self.imports[head] = head
                case cst.ImportFrom(names=cst.ImportStar()):
                    self.stars.append(self._relative(node))
                case cst.ImportFrom() if not isinstance(node.names, cst.ImportStar):
                    base = self._relative(node)
                    for alias in node.names:
                        imported = _dotted(alias.name)
                        name = imported
                        if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                            name = alias.asname.name.value
                        self.imports[name] = f"{base}.{imported}" if base else imported
                case _:
                    pass

    def _relative(self, node: cst.ImportFrom) -> str:
        module = "" if node.module is None else _dotted(node.module)
        package = self.package
        for _ in node.relative[1:]:
            package = package.rpartition(".")[0]
        if not node.relative:
            return module
        return f"{package}.{module}".strip(".")


def _dotted(node: cst.BaseExpression) -> str:
    match node:
        case cst.Attribute():
            return f"{_dotted(node.value)}.{node.attr.value}"
        case cst.Name():
            return node.value
        case _:
            return ""


def dotted_name(term: Term) -> str:
    """``a.b.c`` of a chain of attributes over a global name, else the empty string."""
    match term:
        case Global(name=name) | Local(function=name):
            return name
        case Attr(base=base, name=name):
            head = dotted_name(base)
            return f"{head}.{name}" if head else ""
        case _:
            return ""
