"""Files, classes and functions of a project, parsed when somebody asks for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import PurePath
from typing import Any

from lorascale_lint.knowledge.intent import LOGS
from lorascale_lint.sources.parsing import NestedTooDeeply, parse

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(eq=False, slots=True)
class FunctionInfo:
    """A function, method or lambda of the project; ``owner`` is the class in whose body it stands."""

    file: FileInfo
    node: FunctionNode
    qualname: str
    owner: ClassInfo | None = None

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.qualname.rpartition(".")[2]

    @property
    def decorators(self) -> tuple[str, ...]:
        """Dotted names of the decorators, without their arguments."""
        found = getattr(self.node, "decorator_list", [])
        return tuple(dotted(item.func if isinstance(item, ast.Call) else item) for item in found)

    @property
    def is_static(self) -> bool:
        """Has the function no receiver?"""
        return self.owner is None or "staticmethod" in self.decorators

    def has(self, *names: str) -> bool:
        """Is one of ``names`` the last part of a decorator's name?"""
        return any(item.rpartition(".")[2] in names for item in self.decorators)

    @property
    def parameters(self) -> list[str]:
        """Names of all parameters in order, with ``*`` and ``**`` ones."""
        args = self.node.args
        names = [item.arg for item in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
        return names + [item.arg for item in (args.vararg, args.kwarg) if item is not None]

    @property
    def names_read(self) -> frozenset[str]:
        """Names that the body reads, but for what it only logs; all of them where it takes ``locals()``."""
        found = _names_read(self)
        return found | set(self.parameters) if found & {"locals", "vars"} else found

    def default(self, parameter: str) -> ast.expr | None:
        """What the parameter is where a call does not give it; None where it must be given."""
        args = self.node.args
        plain = [*args.posonlyargs, *args.args]
        pairs = [*zip(plain[len(plain) - len(args.defaults) :], args.defaults, strict=True)]
        pairs += [(p, d) for p, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None]
        return next((default for item, default in pairs if item.arg == parameter), None)

    def argument(self, parameter: str) -> ast.arg | None:
        """Where the parameter is declared."""
        args = self.node.args
        return next(
            (p for p in (*args.posonlyargs, *args.args, *args.kwonlyargs) if p.arg == parameter), None
        )

    def annotation(self, parameter: str) -> str:
        """The annotation of a parameter as it is written, quotes off; empty where there is none."""
        found = self.argument(parameter)
        return "" if found is None or found.annotation is None else ast.unparse(found.annotation).strip("\"'")


@dataclass(eq=False, slots=True)
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

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.node.name

    @property
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
    all_functions: list[FunctionInfo] = field(default_factory=list)
    """Functions and methods that are in no other function."""

    @cached_property
    def lines(self) -> list[str]:
        """The text by rows."""
        return self.source.splitlines()

    @property
    def is_test(self) -> bool:
        """Is it a test, which makes tensors and settings of its own?"""
        path = PurePath(self.filename)
        return (
            path.name.startswith(("test_", "conftest"))
            or path.stem.endswith("_test")
            or "tests" in path.parts
        )

    @cached_property
    def libraries(self) -> frozenset[str]:
        """First parts of the names of all modules that the file imports, in functions too."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
        return frozenset(found)

    def text(self, node: ast.AST) -> str:
        """Source rows of ``node``."""
        return "\n".join(self.lines[getattr(node, "lineno", 1) - 1 : getattr(node, "end_lineno", None) or 0])


class Program:
    """A project by file name; a file is parsed when a name leads there."""

    def __init__(self, sources: Mapping[str, str], modules: Mapping[str, str]) -> None:
        """``sources`` gives decoded text by file name, ``modules`` the dotted module names."""
        self.sources = sources
        self.modules = modules
        self._files: dict[str, FileInfo | None] = {}
        self._neighbours: dict[str, list[FileInfo]] = {}
        self._by_module: dict[str, str] = {}
        for filename, module in modules.items():
            self._by_module.setdefault(module, filename)

    def file(self, filename: str) -> FileInfo | None:
        """The parsed file; None if it is no valid Python."""
        if filename not in self._files:
            self._files[filename] = _parse(
                filename, self.modules.get(filename, ""), self.sources.get(filename, "")
            )
        return self._files[filename]

    def module_file(self, module: str) -> FileInfo | None:
        """The file of a dotted module name; also by the end of its path where the root is another folder."""
        filename = self._by_module.get(module) or self._by_path.get(module)
        return None if filename is None else self.file(filename)

    @cached_property
    def _by_path(self) -> dict[str, str]:
        found: dict[str, str | None] = {}
        for filename in self.modules:
            parts = PurePath(filename).with_suffix("").parts
            if parts and parts[-1] == "__init__":
                parts = parts[:-1]
            for length in range(1, min(len(parts), 12) + 1):
                end = ".".join(parts[-length:])
                if length == 1 and end in ("utils", "lora", "model", "layers", "config", "common", "base"):
                    found.setdefault(end, filename)
                    continue
                found[end] = None if end in found else filename
        return {end: name for end, name in found.items() if name is not None}

    def lookup(
        self, file: FileInfo, name: str, depth: int = 0
    ) -> FunctionInfo | ClassInfo | FileInfo | str | None:
        """What ``name`` means at the top level of ``file``.

        A definition, a module's file, the dotted name of something of a library, or None.
        """
        found = file.functions.get(name) or file.classes.get(name)
        if found is not None:
            return found
        target = file.imports.get(name)
        if target is not None:
            meant = self.dotted(target, depth + 1)
            for other in file.instead.get(name, ()) if isinstance(meant, str) else ():
                better = self.dotted(other, depth + 1)
                if not isinstance(better, str):
                    return better
            return meant
        for star in file.stars:
            module = self.module_file(star)
            if module is not None and module is not file and depth < 6:
                starred = self.lookup(module, name, depth + 1)
                if starred is not None and not (isinstance(starred, str) and starred == name):
                    return starred
        return None

    def dotted(self, name: str, depth: int = 0) -> FunctionInfo | ClassInfo | FileInfo | str | None:
        """What an absolute dotted name leads to."""
        module = self.module_file(name)
        if module is not None:
            return module
        head, _, last = name.rpartition(".")
        if head and depth < 8:
            owner = self.dotted(head, depth + 1)
            if isinstance(owner, FileInfo):
                found = self.lookup(owner, last, depth + 1)
                if found is not None:
                    return found
                if last in owner.bindings:
                    return f"{owner.filename}::{last}"
            if isinstance(owner, ClassInfo):
                return owner.methods.get(last) or owner.inner.get(last) or name
        return name

    def mro(self, cls: ClassInfo) -> list[ClassInfo]:
        """The class and its bases in the project, nearest first, each after all that inherit from it."""
        try:
            return self._mro[cls]
        except KeyError:
            pass
        self._mro[cls] = [cls]
        order: list[ClassInfo] = []
        pending = [(cls, 0)]
        while pending and len(order) < 64:
            current, level = pending.pop(0)
            if current in order:
                order.remove(current)
            order.append(current)
            if level < 12:
                pending.extend((base, level + 1) for base in self.bases(current))
        self._mro[cls] = order
        return order

    @cached_property
    def _mro(self) -> dict[ClassInfo, list[ClassInfo]]:
        return {}

    def bases(self, cls: ClassInfo) -> list[ClassInfo]:
        """Direct bases that are classes of the project."""
        found = []
        for base in cls.node.bases:
            name = dotted(base.value if isinstance(base, ast.Subscript) else base)
            target = self.resolve(cls.file, name)
            if isinstance(target, ClassInfo) and target is not cls:
                found.append(target)
        return found

    def library_bases(self, cls: ClassInfo) -> list[str]:
        """Dotted names of the bases of ``cls`` and its ancestors that are no classes of the project."""
        found = []
        for item in self.mro(cls):
            for base in item.node.bases:
                name = dotted(base.value if isinstance(base, ast.Subscript) else base)
                target = self.resolve(item.file, name)
                if not isinstance(target, ClassInfo):
                    found.append(target if isinstance(target, str) else name)
        return found

    def resolve(self, file: FileInfo, name: str) -> FunctionInfo | ClassInfo | FileInfo | str | None:
        """What a dotted name means in ``file``."""
        head, _, rest = name.partition(".")
        found = self.lookup(file, head)
        while rest and found is not None:
            head, _, rest = rest.partition(".")
            if isinstance(found, FileInfo):
                found = self.lookup(found, head)
            elif isinstance(found, ClassInfo):
                found = found.inner.get(head) or found.methods.get(head)
            elif isinstance(found, str):
                found = self.dotted(f"{found}.{head}")
            else:
                return None
        return found if found is not None else (name if "." in name else None)

    def method(self, cls: ClassInfo, name: str) -> tuple[FunctionInfo, ClassInfo] | None:
        """The method that an instance of ``cls`` has under ``name``, and the class where it stands."""
        for item in self.mro(cls):
            if name in item.methods:
                return item.methods[name], item
        return None

    def classes_with(self, method: str, file: FileInfo) -> list[ClassInfo]:
        """Classes of ``file``, and of the files that it imports from, that have a method of this name."""
        return [cls for near in self._near(file) for cls in near.classes.values() if method in cls.methods]

    def _near(self, file: FileInfo) -> list[FileInfo]:
        known = self._neighbours.get(file.filename)
        if known is None:
            found = {file.filename: file}
            for target in (*file.imports.values(), *file.stars):
                for name in (target, target.rpartition(".")[0]):
                    other = self.module_file(name) if name else None
                    if other is not None:
                        found[other.filename] = other
                        break
            known = self._neighbours[file.filename] = list(found.values())
        return known


@lru_cache(maxsize=4096)
def _names_read(function: FunctionInfo) -> frozenset[str]:
    found: set[str] = set()
    body = function.node.body
    pending: list[ast.AST] = list(body) if isinstance(body, list) else [body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in LOGS:
            continue
        if isinstance(node, ast.Name):
            found.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return frozenset(found)


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


def _parse(filename: str, module: str, source: str) -> FileInfo | None:
    try:
        tree = parse(source)
    except (SyntaxError, NestedTooDeeply):
        return None
    package = PurePath(filename).stem == "__init__"
    found = FileInfo(filename, module, tree, source, package)
    _collect(found, tree.body, "", None)
    return found


def _collect(file: FileInfo, body: list[ast.stmt], prefix: str, owner: ClassInfo | None) -> None:
    """Definitions in a suite, also under ``if``, ``try`` and ``with``."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                info = FunctionInfo(file, node, prefix + node.name, owner)
                file.all_functions.append(info)
                if owner is None:
                    file.functions[node.name] = info
                elif info.has("setter"):
                    owner.setters[node.name] = info
                elif not info.has("overload", "deleter"):
                    owner.methods[node.name] = info
            case ast.ClassDef():
                cls = ClassInfo(file, node, prefix + node.name)
                if owner is None:
                    file.classes[node.name] = cls
                else:
                    owner.inner[node.name] = cls
                _collect(file, node.body, f"{prefix}{node.name}.", cls)
            case ast.Import() | ast.ImportFrom() if owner is None:
                _import(file, node)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.Delete():
                for name in _bound(node):
                    if owner is None:
                        file.bindings.setdefault(name, []).append(node)
                    elif isinstance(node, ast.Assign | ast.AnnAssign):
                        owner.attributes[name] = node.value
            case ast.If():
                _collect(file, node.body, prefix, owner)
                _collect(file, node.orelse, prefix, owner)
            case ast.Try():
                for suite in (
                    node.body,
                    *[handler.body for handler in node.handlers],
                    node.orelse,
                    node.finalbody,
                ):
                    _collect_missing(file, suite, prefix, owner)
            case ast.With():
                _collect(file, node.body, prefix, owner)
            case _:
                pass


def _collect_missing(file: FileInfo, body: list[ast.stmt], prefix: str, owner: ClassInfo | None) -> None:
    """What ``try`` binds comes before what ``except`` puts in its place."""
    kept = dict(file.imports)
    functions, classes = dict(file.functions), dict(file.classes)
    _collect(file, body, prefix, owner)
    for name, before in kept.items():
        if file.imports[name] != before:
            file.instead.setdefault(name, []).append(file.imports[name])
    file.imports.update(kept)
    file.functions.update(functions)
    file.classes.update(classes)


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=targets):
            for target in targets:
                for item in ast.walk(target):
                    if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                        yield item.id
                if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    yield target.value.id
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name
        case ast.For():
            for item in ast.walk(node):
                if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                    yield item.id
        case _:
            return


def _import(file: FileInfo, node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                file.imports[alias.asname] = alias.name
            else:
                head = alias.name.partition(".")[0]
                file.imports[head] = head
        return
    base = node.module or ""
    if node.level:
        package = file.module if file.is_package else file.module.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        base = f"{package}.{base}".strip(".")
    for alias in node.names:
        if alias.name == "*":
            file.stars.append(base)
        else:
            file.imports[alias.asname or alias.name] = f"{base}.{alias.name}" if base else alias.name
