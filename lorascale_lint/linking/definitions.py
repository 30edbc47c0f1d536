"""Files, classes and functions of a project: what each defines, and what its text says of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import PurePath
from typing import Any

from lorascale_lint.knowledge.intent import LOGS
from lorascale_lint.knowledge.options import NUMBER_TYPES, option_names
from lorascale_lint.linking.numbers_by_use import numbers_by_use

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def is_test(filename: str) -> bool:
    """Is it the path of a test?"""
    path = PurePath(filename)
    beside = any(part == "tests" or part.endswith(("_tests", "-tests")) for part in path.parts)
    return beside or path.name.startswith(("test_", "conftest")) or path.stem.endswith("_test")


@dataclass(eq=False, repr=False)
class FunctionInfo:
    """A function, method or lambda of the project; ``owner`` is the class in whose body it stands.

    What is asked at every call is found out once.
    """

    file: FileInfo
    node: FunctionNode
    qualname: str
    owner: ClassInfo | None = None

    def __repr__(self) -> str:
        """Short, and the same in every run: texts that are not known are named by what they are made of."""
        return f"<{self.file.filename}:{self.node.lineno} {self.qualname}>"

    @cached_property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.qualname.rpartition(".")[2]

    @cached_property
    def decorators(self) -> tuple[str, ...]:
        """Dotted names of the decorators, without their arguments."""
        found = getattr(self.node, "decorator_list", [])
        return tuple(dotted(item.func if isinstance(item, ast.Call) else item) for item in found)

    @cached_property
    def is_static(self) -> bool:
        """Has the function no receiver?"""
        return self.owner is None or "staticmethod" in self.decorators

    def has(self, *names: str) -> bool:
        """Is one of ``names`` the last part of a decorator's name?"""
        return bool(self.decorators) and any(item.rpartition(".")[2] in names for item in self.decorators)

    @cached_property
    def is_left_open(self) -> bool:
        """Does the body only say that subclasses decide?"""
        match self.node:
            case ast.FunctionDef(
                body=[*_, ast.Raise(exc=ast.Name(id=error) | ast.Call(func=ast.Name(id=error)))]
            ):
                rest = self.node.body[:-1]
                plain = all(
                    isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) for item in rest
                )
                return error == "NotImplementedError" and plain
            case _:
                return False

    @cached_property
    def parameters(self) -> list[str]:
        """Names of all parameters in order, with ``*`` and ``**`` ones."""
        args = self.node.args
        names = [item.arg for item in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
        return names + [item.arg for item in (args.vararg, args.kwarg) if item is not None]

    @property
    def annotations(self) -> list[str]:
        """What the parameters are said to be, by the last part of a plain name: classes of records."""
        args = self.node.args
        notes = (item.annotation for item in (*args.posonlyargs, *args.args, *args.kwonlyargs))
        return [
            dotted(note).rpartition(".")[2] for note in notes if isinstance(note, ast.Name | ast.Attribute)
        ]

    @property
    def names_read(self) -> frozenset[str]:
        """Names that the body reads, but for what it only logs; all of them where it takes ``locals()``."""
        found = _names_read(self)
        return found | set(self.parameters) if found & {"locals", "vars"} else found

    @property
    def attributes_read(self) -> frozenset[str]:
        """Names of attributes, of whatever object, that the body reads or calls."""
        return _attributes_read(self)

    @property
    def mappings(self) -> frozenset[str]:
        """Names that the body uses as dictionaries: under a text, by their items or keys."""
        return _mappings(self)

    @property
    def steps(self) -> frozenset[str]:
        """``file:row`` of each row of the function; a chain of calls that leads through it has one."""
        return _steps(self)

    @property
    def nodes(self) -> list[ast.AST]:
        """The function and all below it, but for the marks of loads and stores."""
        return _nodes(self)

    @cached_property
    def positional(self) -> tuple[ast.arg, ...]:
        """The parameters that an argument without a name can be for."""
        return (*self.node.args.posonlyargs, *self.node.args.args)

    @cached_property
    def defaults(self) -> Mapping[str, ast.expr]:
        """What parameters are where a call does not give them."""
        args, plain = self.node.args, self.positional
        pairs = [*zip(plain[len(plain) - len(args.defaults) :], args.defaults, strict=True)]
        pairs += [(p, d) for p, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None]
        return {item.arg: default for item, default in pairs}

    def default(self, parameter: str) -> ast.expr | None:
        """What the parameter is where a call does not give it; None where it must be given."""
        return self.defaults.get(parameter)

    def argument(self, parameter: str) -> ast.arg | None:
        """Where the parameter is declared."""
        args = self.node.args
        return next(
            (p for p in (*args.posonlyargs, *args.args, *args.kwonlyargs) if p.arg == parameter), None
        )

    def takes_number(self, parameter: str) -> bool:
        """Is a parameter one number by annotation, default, the option (click) that it is, or use?"""
        return parameter in self._numbers

    @cached_property
    def _numbers(self) -> frozenset[str]:
        found = {name for name, default in self.defaults.items() if _is_number(default)}
        found |= {name for name in self.parameters if _is_number_type(self.annotation(name))}
        for call in getattr(self.node, "decorator_list", ()):
            if isinstance(call, ast.Call) and _is_number_option(call):
                texts = (item.value for item in call.args if isinstance(item, ast.Constant))
                found.update(option_names(text for text in texts if isinstance(text, str)))
        plain = (name for name in self.parameters if name not in found and not self.annotation(name))
        return frozenset(found) | numbers_by_use(self.nodes, frozenset(plain))

    def annotation(self, parameter: str) -> str:
        """The annotation of a parameter as it is written, quotes off; empty where there is none."""
        found = self.argument(parameter)
        return "" if found is None or found.annotation is None else ast.unparse(found.annotation).strip("\"'")


def _is_number(default: ast.expr | None) -> bool:
    return isinstance(default, ast.Constant) and type(default.value) in (int, float)


def _is_number_type(annotation: str) -> bool:
    """Is what is annotated so one number, or None?"""
    inner = annotation.removeprefix("typing.").removeprefix("Optional[").removesuffix("]")
    return {part.strip() for part in inner.split("|")} - {"None"} in ({"float"}, {"int"}, {"int", "float"})


def _is_number_option(call: ast.Call) -> bool:
    """Does a call declare an option that is one number: ``click.option("--weight", type=float)``?"""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    kind = given.get("type")
    named = kind is not None and dotted(kind).rpartition(".")[2] in NUMBER_TYPES
    return named or _is_number(given.get("default"))


@dataclass(eq=False, repr=False)
class ClassInfo:
    """A class of the project."""

    file: FileInfo
    node: ast.ClassDef
    qualname: str
    methods: dict[str, FunctionInfo] = field(default_factory=dict)
    setters: dict[str, FunctionInfo] = field(default_factory=dict)
    attributes: dict[str, ast.expr | None] = field(default_factory=dict)
    inner: dict[str, ClassInfo] = field(default_factory=dict)
    names: Any = None
    """The names around a class that is defined inside a function."""

    def __repr__(self) -> str:
        """As that of a function."""
        return f"<{self.file.filename}:{self.node.lineno} {self.qualname}>"

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.node.name

    @property
    def key(self) -> str:
        """File and qualified name: classes of other files may have the same name."""
        return f"{self.file.filename}:{self.qualname}"

    @cached_property
    def declared(self) -> tuple[str, ...]:
        """Fields that the body declares with an annotation, but for those of the class itself."""
        return tuple(
            item.target.id
            for item in self.node.body
            if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and "ClassVar" not in ast.unparse(item.annotation)
        )

    @cached_property
    def decorators(self) -> tuple[str, ...]:
        """Dotted names of the decorators."""
        return tuple(
            dotted(item.func if isinstance(item, ast.Call) else item) for item in self.node.decorator_list
        )


@dataclass(eq=False)
class FileInfo:
    """One file, parsed: what it defines, imports and binds at its top level."""

    filename: str
    module: str
    tree: ast.Module
    source: str
    is_package: bool = False
    imports: dict[str, str] = field(default_factory=dict)
    instead: dict[str, list[str]] = field(default_factory=dict)
    """What ``except ImportError`` imports under a name that ``try`` has imported already."""
    stars: list[str] = field(default_factory=list)
    functions: dict[str, FunctionInfo] = field(default_factory=dict)
    classes: dict[str, ClassInfo] = field(default_factory=dict)
    bindings: dict[str, list[ast.stmt]] = field(default_factory=dict)
    """Statements at the top level that bind a name, in order."""
    perhaps: set[ast.stmt] = field(default_factory=set)
    """Those that run on some ways only: below ``if``, or where something could not be imported."""
    all_functions: list[FunctionInfo] = field(default_factory=list)
    """Functions and methods that are in no other function."""

    def function_at(self, row: int) -> FunctionInfo | None:
        """The function or method that this row belongs to."""
        around = (one for one in self.all_functions if one.node.lineno <= row <= (one.node.end_lineno or 0))
        return next(around, None)

    @cached_property
    def lines(self) -> list[str]:
        """The text by rows."""
        return self.source.splitlines()

    @cached_property
    def is_test(self) -> bool:
        """Is it a test, which makes tensors and settings of its own?"""
        return is_test(self.filename)

    @cached_property
    def libraries(self) -> frozenset[str]:
        """First parts of the names of all modules that the file imports, in functions too."""
        found: set[str] = set()
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
            for suite in ("body", "orelse", "finalbody", "handlers", "cases"):  # no expression imports
                inner = getattr(node, suite, None)
                pending += inner if isinstance(inner, list) else ()
        return frozenset(found)

    def definitions(self) -> Iterator[FunctionInfo | ClassInfo]:
        """The functions, methods and classes that are in no function."""
        yield from self.all_functions
        pending = [*self.classes.values()]
        while pending:
            cls = pending.pop()
            yield cls
            pending += cls.inner.values()

    def text(self, node: ast.AST) -> str:
        """Source rows of ``node``."""
        return "\n".join(self.lines[getattr(node, "lineno", 1) - 1 : getattr(node, "end_lineno", None) or 0])


@lru_cache(maxsize=4096)
def _names_read(function: FunctionInfo) -> frozenset[str]:
    found: set[str] = set()
    body = function.node.body
    pending: list[ast.AST] = list(body) if isinstance(body, list) else [body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in LOGS:
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        pending.extend(ast.iter_child_nodes(node))
    return frozenset(found)


@lru_cache(maxsize=4096)
def _steps(function: FunctionInfo) -> frozenset[str]:
    first, last = function.node.lineno, function.node.end_lineno or function.node.lineno
    return frozenset(f"{function.file.filename}:{row}" for row in range(first, last + 1))


@lru_cache(maxsize=512)  # the methods of a class, of which several questions are asked in a row
def _nodes(function: FunctionInfo) -> list[ast.AST]:
    return below(function.node)


@lru_cache(maxsize=4096)
def _attributes_read(function: FunctionInfo) -> frozenset[str]:
    attributes = (node for node in function.nodes if isinstance(node, ast.Attribute))
    return frozenset(node.attr for node in attributes if isinstance(node.ctx, ast.Load))


@lru_cache(maxsize=4096)
def _mappings(function: FunctionInfo) -> frozenset[str]:
    found: set[str] = set()
    for node in function.nodes:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str()) | ast.JoinedStr()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id=name), attr="items" | "keys" | "values" | "get" | "pop"):
                found.add(name)
    return frozenset(found)


def below(node: ast.AST) -> list[ast.AST]:
    """A node and all below it, as `ast.walk` gives them, but for the marks of loads and stores.

    Many questions are asked of one function; `ast.walk` took a tenth of the time.
    """
    found = [node]
    for item in found:
        for name in item._fields:
            if name == "ctx":
                continue
            value = getattr(item, name, None)
            if isinstance(value, list):
                found += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an attribute chain over a name, else the empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))
