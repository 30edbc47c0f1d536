"""A project by its files, parsed when somebody asks for them, and what names in them lead to."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePath

from lorascale_lint.bounds import ANCESTOR_DEPTH, ANCESTOR_LIMIT, DOTTED_DEPTH, STAR_DEPTH
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo, dotted
from lorascale_lint.sources.parsing import NestedTooDeeply, parse
from lorascale_lint.sources.texts import Texts

Meaning = FunctionInfo | ClassInfo | FileInfo | str | None
"""What a name leads to: a definition, a module's file, the dotted name of something of a library, or None."""
_STAR = re.compile(rb"import[\s\\]*\*")


class Program:
    """A project by file name; a file is parsed when a name leads there."""

    def __init__(self, sources: Mapping[str, str], modules: Mapping[str, str]) -> None:
        """``sources`` gives decoded text by file name, ``modules`` the dotted module names."""
        self.sources = sources
        self.modules = modules
        self._files: dict[str, FileInfo | None] = {}
        self._neighbours: dict[str, list[str]] = {}
        self._stars: dict[str, bool] = {}
        self._dotted: dict[tuple[str, int], Meaning] = {}
        self._library_bases: dict[ClassInfo, list[str]] = {}
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

    def parsed(self) -> list[FileInfo]:
        """The files that were parsed so far."""
        return [file for file in self._files.values() if file is not None]

    def module_file(self, module: str) -> FileInfo | None:
        """The file of a dotted module name; also by the end of its path where the root is another folder."""
        filename = self._named(module)
        return None if filename is None else self.file(filename)

    def _named(self, module: str) -> str | None:
        return self._by_module.get(module) or self._by_path.get(module)

    def _mentions(self, filename: str, name: str) -> bool:
        """May a name be in a file? One without it is not parsed to look it up."""
        if isinstance(self.sources, Texts):
            return self.sources.mentions(filename, name)
        return name in self.sources.get(filename, "")

    def _hands_on(self, filename: str) -> bool:
        """May there be an ``import *`` in a file?"""
        if filename not in self._stars:
            if isinstance(self.sources, Texts):
                data = self.sources.sources[filename]
            else:
                data = self.sources.get(filename, "").encode()
            self._stars[filename] = _STAR.search(data) is not None
        return self._stars[filename]

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

    def lookup(self, file: FileInfo, name: str, depth: int = 0) -> Meaning:
        """What ``name`` means at the top level of ``file``."""
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
            filename = self._named(star)
            if filename is None or not (self._mentions(filename, name) or self._hands_on(filename)):
                continue
            module = self.file(filename)
            if module is not None and module is not file and depth < STAR_DEPTH:
                starred = self.lookup(module, name, depth + 1)
                if starred is not None and not (isinstance(starred, str) and starred == name):
                    return starred
        return None

    def dotted(self, name: str, depth: int = 0) -> Meaning:
        """What an absolute dotted name leads to, after ``depth`` others on the way."""
        key = (name, depth)
        if key not in self._dotted:
            self._dotted[key] = self._find_dotted(name, depth)
        return self._dotted[key]

    def _find_dotted(self, name: str, depth: int) -> Meaning:
        module = self.module_file(name)
        if module is not None:
            return module
        head, _, last = name.rpartition(".")
        if head and depth < DOTTED_DEPTH:
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
        while pending and len(order) < ANCESTOR_LIMIT:
            current, level = pending.pop(0)
            if current in order:
                order.remove(current)
            order.append(current)
            if level < ANCESTOR_DEPTH:
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
        known = self._library_bases.get(cls)
        if known is not None:
            return known
        found: list[str] = []
        for item in self.mro(cls):
            for base in item.node.bases:
                name = dotted(base.value if isinstance(base, ast.Subscript) else base)
                target = self.resolve(item.file, name)
                if not isinstance(target, ClassInfo):
                    found.append(target if isinstance(target, str) else name)
        self._library_bases[cls] = found
        return found

    def resolve(self, file: FileInfo, name: str) -> Meaning:
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
        found = []
        for filename in self._near(file):
            near = self.file(filename) if self._mentions(filename, method) else None
            found += [cls for cls in near.classes.values() if method in cls.methods] if near else []
        return found

    def imported(self, file: FileInfo, names: Collection[str] | None = None) -> list[str]:
        """The names of the other files that a file imports, or imports from, at its top level.

        With ``names``, only those from which one of these comes, or may come.
        """
        found: dict[str, None] = {}
        targets = [target for name, target in file.imports.items() if names is None or name in names]
        for target in (*targets, *file.stars):
            for name in (target, target.rpartition(".")[0]):
                other = self._named(name) if name else None
                if other is not None:
                    found[other] = None
                    break
        found.pop(file.filename, None)
        return list(found)

    def taken(self, file: FileInfo, other: FileInfo) -> frozenset[str] | None:
        """The names that a file imports from another at its top level; None where it may use any of them."""
        if any(self._named(star) == other.filename for star in file.stars):
            return None
        found = set()
        for target in file.imports.values():
            head, _, last = target.rpartition(".")
            if self._named(target) == other.filename:
                return None
            if head and self._named(head) == other.filename:
                found.add(last)
        return frozenset(found)

    def _near(self, file: FileInfo) -> list[str]:
        """The file, and those that it imports or imports from."""
        known = self._neighbours.get(file.filename)
        if known is None:
            known = self._neighbours[file.filename] = [file.filename, *self.imported(file)]
        return known


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
                file.perhaps.update(node.body, node.orelse)
            case ast.Try():
                for suite in (
                    node.body,
                    *[handler.body for handler in node.handlers],
                    node.orelse,
                    node.finalbody,
                ):
                    _collect_missing(file, suite, prefix, owner)
                file.perhaps.update(*(handler.body for handler in node.handlers))
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
