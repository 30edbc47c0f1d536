"""The files of a project joined: names to definitions, classes to families, calls to callees."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TypeGuard

from lorascale_lint.facts.extract import MODULE, SCRIPT, dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    ClassFacts,
    Const,
    Element,
    Event,
    FileFacts,
    FunctionFacts,
    Global,
    Item,
    Loc,
    Local,
    Mapping as MappingTerm,
    Negative,
    Op,
    Param,
    Parameter,
    Sequence,
    Term,
    walk,
)
from lorascale_lint.findings import Position, Span
from lorascale_lint.model.instances import called_instances, instances
from lorascale_lint.model.scale import ALPHA
from lorascale_lint.model.vocabulary import factor_side, number_role

_COMMON = frozenset(
    "forward update get pop items keys values append apply load save copy build call run step reset "
    "add remove setup init train eval to merge unmerge fuse main wrapper process encode decode".split()
)
"""Method names too common to resolve a call on an unknown object by name alone."""

_INITIALISES = re.compile(r"(?:kaiming|xavier|trunc|he|glorot|normal|uniform|orthogonal|constant)\w*_")
_GIVES_START_VALUES = re.compile(r"(?i)_*(\w+_init|reset_\w*parameters|init_weights|init_parameters)")
"""Methods such as PEFT's ``pissa_init``, which divide factors by the scale that the layer multiplies on."""

_MAKERS = frozenset("zeros ones randn rand normal uniform zeros_like randn_like rand_like".split())

_NEW_TENSORS = frozenset("mm matmul bmm dot linear kron einsum clone".split())
"""Calls whose result shares no memory with what they are given."""

FAMILY_LIMIT = 64
CALLER_LIMIT = 24
CHOICE_LIMIT = 8


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class of the project."""

    filename: str
    module: str
    facts: ClassFacts

    @property
    def name(self) -> str:
        """Name inside its file."""
        return self.facts.name


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function or method of the project; ``owner`` is its class."""

    filename: str
    module: str
    facts: FunctionFacts
    owner: Class | None

    @property
    def positional(self) -> tuple[Parameter, ...]:
        """Parameters that take positional arguments, without ``self`` or ``cls``."""
        plain = tuple(parameter for parameter in self.facts.parameters if parameter.kind == "plain")
        bound = self.owner is not None and "staticmethod" not in self.facts.decorators
        return plain[1:] if bound else plain

    @property
    def receiver(self) -> str | None:
        """Name of the ``self`` parameter of a method."""
        if self.owner is None or "staticmethod" in self.facts.decorators or not self.facts.parameters:
            return None
        return self.facts.parameters[0].name

    def parameter(self, name: str) -> Parameter | None:
        """The parameter called ``name``."""
        return next((found for found in self.facts.parameters if found.name == name), None)

    def events(self, *kinds: str) -> Iterator[Event]:
        """Events of the given kinds, in source order."""
        return (event for event in self.facts.events if event.kind in kinds)


@dataclass(frozen=True, slots=True, eq=False)
class CallSite:
    """One call of a project function."""

    caller: Function
    call: Call
    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class AttributeWrite:
    """``object.name = value`` somewhere; ``on_self`` if the object is the method's own instance."""

    function: Function
    event: Event
    on_self: bool


class Project:
    """Index over the facts of all files. Needs no source text."""

    def __init__(self, files: Mapping[str, FileFacts], modules: Mapping[str, str]) -> None:
        """``files`` by file name, ``modules`` gives each file's dotted module name."""
        self.files = files
        self.modules = modules
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, Function] = {}
        self._by_name: dict[str, list[Function]] = defaultdict(list)
        self._ancestors: dict[Class, tuple[Class, ...]] = {}
        for filename in sorted(files):
            facts, module = files[filename], modules[filename]
            for found in facts.classes:
                self.classes[f"{module}.{found.name}"] = Class(filename, module, found)
            for function in facts.functions:
                owner = self.classes.get(f"{module}.{function.class_name}") if function.class_name else None
                item = Function(filename, module, function, owner)
                self.functions[f"{module}.{function.qualname}"] = item
                self._by_name[function.name].append(item)

    def span(self, filename: str, loc: Loc) -> Span:
        """A source range as findings carry it."""
        return Span(filename, Position(loc.row, loc.column), Position(loc.end_row, loc.end_column))

    # ---- names ------------------------------------------------------------------------

    def definition(self, module: str, filename: str, name: str) -> Class | Function | None:
        """What the dotted ``name`` means in a module: a class, a function, or None."""
        candidates = (f"{module}.{name}", self._imported(filename, name))
        for candidate in (*candidates, *self._behind_stars(filename, name)):
            found = self.classes.get(candidate) or self.functions.get(candidate)
            if found is not None:
                return found
        return None

    def _behind_stars(self, filename: str, name: str) -> Iterator[str]:
        """What ``name`` is in the modules that a file imports with ``from module import *``."""
        if name.partition(".")[0] in self.files[filename].imports:
            return
        for star in self.files[filename].stars:
            yield self._canonical(f"{star}.{name}")

    def _imported(self, filename: str, name: str) -> str:
        head, _, rest = name.partition(".")
        target = self.files[filename].imports.get(head)
        if target is None:
            return name
        dotted = f"{target}.{rest}" if rest else target
        return self._canonical(self._rooted(dotted))

    def _rooted(self, dotted: str) -> str:
        """``dotted`` under the module names of the project, where those are counted from another folder."""
        parts = dotted.split(".")
        heads = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        if parts[0] not in self._folders or any(head in self._files_of for head in heads):
            return dotted
        for head in heads[:-1]:
            module = self._by_path.get(head)
            if module is not None:
                return module + dotted[len(head) :]
        return dotted

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(part for filename in self.modules for part in PurePath(filename).parts)

    @cached_property
    def _by_path(self) -> dict[str, str]:
        """Modules by the ends of their paths, of two parts or more, that only one file has."""
        found: dict[str, str | None] = {}
        for filename, module in self.modules.items():
            parts = PurePath(filename).with_suffix("").parts
            for length in range(2, min(len(parts), 12) + 1):
                end = ".".join(parts[-length:])
                found[end] = None if end in found else module
        return {end: module for end, module in found.items() if module is not None}

    def _canonical(self, dotted: str) -> str:
        """Follow a re-export (``from .linear import X`` in a package) one step at a time."""
        for _ in range(4):
            if dotted in self.classes or dotted in self.functions:
                return dotted
            module, _, name = dotted.rpartition(".")
            filename = self._files_of.get(module)
            if filename is None:
                return dotted
            facts = self.files[filename]
            defined = (f"{star}.{name}" for star in facts.stars)
            target = facts.imports.get(name) or next(
                (item for item in defined if item in self.classes or item in self.functions), None
            )
            if target is None or target == dotted:
                return dotted
            dotted = target
        return dotted

    @cached_property
    def _files_of(self) -> dict[str, str]:
        return {module: filename for filename, module in self.modules.items()}

    def absolute_name(self, function: Function, term: Term) -> str:
        """Dotted name of a global with its import resolved: ``F.mm`` is ``torch.mm``."""
        name = dotted_name(term)
        return self._imported(function.filename, name) if name else ""

    # ---- classes ----------------------------------------------------------------------

    def ancestors(self, cls: Class) -> tuple[Class, ...]:
        """The class and its project bases, nearest first (depth first, no duplicates)."""
        known = self._ancestors.get(cls)
        if known is None:
            known = self._ancestors[cls] = self._find_ancestors(cls)
        return known

    def _find_ancestors(self, cls: Class) -> tuple[Class, ...]:
        found: list[Class] = []
        pending = [cls]
        while pending and len(found) < FAMILY_LIMIT:
            current = pending.pop(0)
            if current in found:
                continue
            found.append(current)
            for base in current.facts.bases:
                definition = self.definition(current.module, current.filename, dotted_name(base))
                if isinstance(definition, Class):
                    pending.append(definition)
        return tuple(found)

    @cached_property
    def _subclasses(self) -> dict[Class, list[Class]]:
        table: dict[Class, list[Class]] = defaultdict(list)
        for cls in self.classes.values():
            for ancestor in self.ancestors(cls)[1:]:
                table[ancestor].append(cls)
        return table

    def subclasses(self, cls: Class) -> tuple[Class, ...]:
        """Project classes that inherit from ``cls``, at any distance."""
        return tuple(self._subclasses.get(cls, ()))

    def family(self, cls: Class) -> tuple[Class, ...]:
        """The class, its project ancestors and its project subclasses."""
        return (*self.ancestors(cls), *self._subclasses.get(cls, ()))[:FAMILY_LIMIT]

    def overrides(self, cls: Class, name: str) -> tuple[Function, ...]:
        """The method ``name`` of ``cls`` and those that project subclasses put in its place."""
        found = [self.method(cls, name)]
        found += [
            self.functions.get(f"{sub.module}.{sub.name}.{name}") for sub in self._subclasses.get(cls, ())
        ]
        return tuple(dict.fromkeys(item for item in found if item is not None))[:CHOICE_LIMIT]

    def method(self, cls: Class, name: str) -> Function | None:
        """The method ``name`` as an instance of ``cls`` sees it."""
        for ancestor in self.ancestors(cls):
            found = self.functions.get(f"{ancestor.module}.{ancestor.name}.{name}")
            if found is not None:
                return found
        return None

    def methods(self, cls: Class) -> Iterator[Function]:
        """Methods defined in the body of ``cls`` itself."""
        for name in cls.facts.methods:
            found = self.functions.get(f"{cls.module}.{cls.name}.{name}")
            if found is not None:
                yield found

    # ---- attributes -------------------------------------------------------------------

    @cached_property
    def _writes(self) -> dict[tuple[str, Class | None], list[AttributeWrite]]:
        """By attribute, and by the class that writes it on itself; None for other objects' attributes."""
        table: dict[tuple[str, Class | None], list[AttributeWrite]] = defaultdict(list)
        for function in self.functions.values():
            for event in function.events("write"):
                target = event.target
                while isinstance(target, Item):
                    target = target.base
                if isinstance(target, Attr) and not _is_autograd_context(target.base, function):
                    on_self = is_receiver(target.base, function)
                    owner = function.owner if on_self else None
                    table[target.name, owner].append(AttributeWrite(function, event, on_self))
        return table

    def writes(self, cls: Class, attribute: str) -> tuple[AttributeWrite, ...]:
        """Writes of ``self.attribute`` in the family of ``cls``, and writes of it on other objects."""
        owners = (None, *self.family(cls))
        found = [write for owner in owners for write in self._writes.get((attribute, owner), ())]
        return tuple(sorted(found, key=lambda write: self._order[id(write.function)]))

    @cached_property
    def _order(self) -> dict[int, int]:
        return {id(function): place for place, function in enumerate(self.functions.values())}

    def class_attribute(self, cls: Class, name: str) -> tuple[Class, Term | None, Loc] | None:
        """``name = value`` in the body of the class or an ancestor: where, what, and its place."""
        for ancestor in self.ancestors(cls):
            for attribute in ancestor.facts.attributes:
                if attribute.name == name:
                    return ancestor, attribute.value, attribute.loc
        return None

    # ---- calls ------------------------------------------------------------------------

    def callees(self, term: Term, caller: Function, self_class: Class | None) -> tuple[Class | Function, ...]:
        """Project functions or classes that ``term`` may denote as a callee."""
        match term:
            case Local(function=name):
                found = self.functions.get(f"{caller.module}.{name}")
                return (found,) if found is not None else ()
            case Attr(base=base, name=name):
                return self._attribute_callees(term, base, name, caller, self_class)
            case Choice(then=then, other=other):
                options = (self.callees(option, caller, self_class) for option in (then, other))
                return tuple(dict.fromkeys(item for option in options for item in option))[:CHOICE_LIMIT]
            case Item() | Element():
                named = (self.callees(option, caller, self_class) for option in stored_values(term))
                chosen = tuple(dict.fromkeys(item for option in named for item in option))[:CHOICE_LIMIT]
                return chosen or called_instances(self, term, caller, self_class)
            case Call() | Param():
                return called_instances(self, term, caller, self_class)
            case Global():
                definition = self.definition(caller.module, caller.filename, term.name)
                return (definition,) if definition is not None else ()
            case _:
                return ()

    def _attribute_callees(
        self, term: Attr, base: Term, name: str, caller: Function, self_class: Class | None
    ) -> tuple[Class | Function, ...]:
        owner = self_class or caller.owner
        if owner is not None and is_receiver(base, caller):
            found = self.method(owner, name)
            return (found,) if found is not None else called_instances(self, term, caller, owner)
        held = tuple(self.method(cls, name) for cls in instances(self, base, caller, owner))
        if held and all(method is not None for method in held):
            return tuple(dict.fromkeys(method for method in held if method is not None))
        if owner is not None and isinstance(base, Call) and dotted_name(base.func) == "super":
            for ancestor in self.ancestors(caller.owner or owner)[1:]:
                found = self.functions.get(f"{ancestor.module}.{ancestor.name}.{name}")
                if found is not None:
                    return (found,)
            return ()
        dotted = dotted_name(term)
        if dotted:
            definition = self.definition(caller.module, caller.filename, dotted)
            if definition is not None:
                return (definition,)
            if isinstance(base, Global) and base.name in self.files[caller.filename].imports:
                return ()  # a function of a library
        return self._by_unique_name(name)

    def methods_named(self, name: str) -> tuple[Function, ...]:
        """Every method of that name, for objects of unknown type; none for names that anything may have."""
        common = name in _COMMON or len(name) < 3 or name.startswith("__")
        return () if common else tuple(item for item in self._by_name.get(name, ()) if item.owner is not None)

    def _by_unique_name(self, name: str) -> tuple[Function, ...]:
        """A method that only one class family defines, called on an object of unknown type."""
        if name in _COMMON or len(name) < 6 or name.startswith("__"):
            return ()
        methods = [item for item in self._by_name.get(name, ()) if item.owner is not None]
        if not methods or len(methods) > CHOICE_LIMIT:
            return ()
        roots = {self.ancestors(item.owner)[-1] for item in methods if item.owner is not None}
        return tuple(methods) if len(roots) == 1 else ()

    def call_sites(self, function: Function) -> tuple[CallSite, ...]:
        """Calls of ``function`` in the project; a constructor's are the calls of its class."""
        return tuple(self._sites.get(function, ()))[:CALLER_LIMIT]

    @cached_property
    def _sites(self) -> dict[Function, list[CallSite]]:
        table: dict[Function, list[CallSite]] = defaultdict(list)
        for caller in self.functions.values():
            if caller.facts.qualname == MODULE and f"{caller.module}.{SCRIPT}" in self.functions:
                continue  # the same calls, with less known about their arguments
            for event in caller.events("call"):
                if isinstance(event.value, Call) and not is_test_file(caller.filename):
                    for callee in self.callees(event.value.func, caller, None):
                        target = constructor(self, callee)
                        if target is not None:
                            table[target].append(CallSite(caller, event.value, event))
        return table

    @cached_property
    def rescaled_attributes(self) -> frozenset[str]:
        """Attributes that some code multiplies or divides in place: evidence of a fold."""
        found: set[str] = set()
        for function in self.functions.values():
            for event in function.events("call"):
                if _starts_scaled(event.value):
                    found.update(attribute_chain(event.value.args[0]))
            if _GIVES_START_VALUES.fullmatch(function.facts.name):
                continue  # training goes on from there; what is applied is still the scaled product
            for event in function.facts.events:
                if event.kind == "write" and event.target is not None:
                    fold = is_rescaling(event.value) and not is_initialisation(event.value)
                    if event.sign in ("*", "/") or fold:
                        found.update(attribute_chain(event.target))
                elif event.kind == "call" and isinstance(event.value, Call):
                    func, args = event.value.func, event.value.args
                    if isinstance(func, Attr) and (
                        func.name in ("mul_", "div_", "multiply_", "divide_")
                        or (func.name == "copy_" and args and is_rescaling(args[0]))
                    ):
                        found.update(attribute_chain(func.base))
        return frozenset(found)

    @cached_property
    def rescaled_sides(self) -> frozenset[str]:
        """Factors (``A``, ``B``) that some code rescales under whatever name it has for them."""
        sides = {factor_side(name, False) for name in self.rescaled_attributes}
        return frozenset(side for side in sides if side is not None)

    @cached_property
    def rescaling_files(self) -> frozenset[str]:
        """Files where entries of a state dict are rescaled under their keys."""
        return frozenset(function.filename for function, _ in self._rescaled_entries())

    @cached_property
    def folding_files(self) -> frozenset[str]:
        """Those where what is rescaled is not a layer's own factor, on its way out to a file."""
        return frozenset(
            function.filename for function, event in self._rescaled_entries() if not _exports(event, function)
        )

    def _rescaled_entries(self) -> Iterator[tuple[Function, Event]]:
        return (
            (function, event)
            for function in self.functions.values()
            for event in function.events("write")
            if isinstance(event.target, Item)
            and not _GIVES_START_VALUES.fullmatch(function.facts.name)
            and not _holds_scalars(event.target.base)
            and (
                event.sign in ("*", "/")
                or (not event.sign and is_rescaling(event.value) and not is_scalar_arithmetic(event.value))
            )
        )

    def appended(self, attribute: str) -> tuple[tuple[Function, Term], ...]:
        """What is appended to the list ``attribute`` of whatever object, and where."""
        return tuple(
            (site.caller, site.call.args[0])
            for site in self._calls_by_name.get("append", ())
            if len(site.call.args) == 1
            and isinstance(site.call.func, Attr)
            and isinstance(site.call.func.base, Attr)
            and site.call.func.base.name == attribute
        )

    def rescaled_arguments(self, function: Function, name: str) -> bool:
        """Does some call by this method's name, on whatever object, give the parameter a product?"""
        return any(
            isinstance(site.call.func, Attr)
            and (argument := bound_arguments(site.call, function).get(name)) is not None
            and is_rescaling(argument)
            for site in self._rescaling_calls_by_name.get(function.facts.name, ())
        )

    @cached_property
    def _rescaling_calls_by_name(self) -> dict[str, list[CallSite]]:
        """Calls that are given a product or quotient, a small part of all."""
        return {
            name: rescaling
            for name, sites in self._calls_by_name.items()
            if (
                rescaling := [
                    site
                    for site in sites
                    if any(map(is_rescaling, (*site.call.args, *(value for _, value in site.call.keywords))))
                ]
            )
        }

    @cached_property
    def _calls_by_name(self) -> dict[str, list[CallSite]]:
        table: dict[str, list[CallSite]] = defaultdict(list)
        for caller in self.functions.values():
            for event in caller.events("call"):
                if isinstance(event.value, Call) and isinstance(event.value.func, Attr):
                    table[event.value.func.name].append(CallSite(caller, event.value, event))
        return table

    def reachable(self, function: Function, depth: int = 3) -> tuple[Function, ...]:
        """``function`` and the project functions that it calls, ``depth`` calls deep."""
        found: dict[Function, None] = {function: None}
        layer: list[Function] = [function]
        for _ in range(depth):
            following: list[Function] = []
            for current in layer:
                for event in current.events("call"):
                    if isinstance(event.value, Call):
                        for callee in self.callees(event.value.func, current, None):
                            target = constructor(self, callee)
                            if target is not None and target not in found:
                                found[target] = None
                                following.append(target)
            layer = following
        return tuple(found)


def is_test_file(filename: str) -> bool:
    """Tests call code with tensors of their own; they say nothing about where real factors come from."""
    path = PurePath(filename)
    return path.name.startswith(("test_", "conftest")) or path.stem.endswith("_test") or "tests" in path.parts


def _starts_scaled(term: Term) -> TypeGuard[Call]:
    """Is a tensor filled with values that alpha decides: ``init.normal_(self.lora_A, std=alpha / rank)``?"""
    if not isinstance(term, Call) or not term.args or not _INITIALISES.fullmatch(_callee_name(term)):
        return False
    given = (*term.args[1:], *(value for _, value in term.keywords))
    return any(isinstance(value, Op) and is_scalar_arithmetic(value) for value in given)


def is_rescaling(term: Term) -> bool:
    """Is ``term`` a product or quotient, apart from conversions around it?"""
    while isinstance(term, Call):
        if isinstance(term.func, Attr) and term.func.name in ("mul", "div", "multiply", "divide"):
            return True
        if term.args and isinstance(term.func, Attr | Global) and term.func.name in ("Parameter", "tensor"):
            term = term.args[0]
        elif isinstance(term.func, Attr):
            term = term.func.base
        else:
            return False
    return isinstance(term, Op) and term.sign in ("*", "/")


def is_scalar_arithmetic(term: Term) -> bool:
    """Is ``term`` computed from an alpha, ranks and literals alone: a scale that is stored, no tensor?"""
    leaves = list(_arithmetic_leaves(term))
    roles = {number_role(leaf, True) for leaf in leaves if isinstance(leaf, str)}
    return ALPHA in roles and None not in roles


def _arithmetic_leaves(term: Term) -> Iterator[str | None]:
    """Names under arithmetic; the empty name for what is none, None for an extent or a literal."""
    match term:
        case Op(left=left, right=right):
            yield from _arithmetic_leaves(left)
            yield from _arithmetic_leaves(right)
        case Negative(operand=operand):
            yield from _arithmetic_leaves(operand)
        case Choice(then=then, other=other):
            yield from _arithmetic_leaves(then)
            yield from _arithmetic_leaves(other)
        case Call(func=Attr(name="sqrt") | Global(name="float" | "int"), args=(inner,)):
            yield from _arithmetic_leaves(inner)
        case Const() | Item(base=Attr(name="shape")):
            yield None
        case Item(base=base):
            yield from _arithmetic_leaves(base)
        case Attr(name=name) | Param(name=name) | Global(name=name):
            yield name
        case _:
            yield ""


def is_initialisation(term: Term) -> bool:
    """Is ``term`` a fresh tensor multiplied by a constant of its initialisation: ``randn(...) * std``?"""
    while isinstance(term, Call):
        if term.args and _callee_name(term) in ("Parameter", "tensor"):
            term = term.args[0]
        elif isinstance(term.func, Attr) and term.func.name in ("to", "type", "cuda"):
            term = term.func.base
        else:
            break
    if not (isinstance(term, Op) and term.sign in ("*", "/")):
        return False
    operands = (term.left, term.right) if term.sign == "*" else (term.left,)
    return any(isinstance(operand, Call) and _callee_name(operand) in _MAKERS for operand in operands)


def _callee_name(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""


def attribute_chain(term: Term) -> Iterator[str]:
    """Attribute names of ``x.a.b[0].c``, outermost first; a product or copy is a tensor of its own."""
    while isinstance(term, Attr | Item | Call):
        if isinstance(term, Call) and _callee_name(term) in _NEW_TENSORS:
            return
        if isinstance(term, Attr):
            yield term.name
        term = term.func if isinstance(term, Call) else term.base


def constructor(project: Project, callee: Class | Function) -> Function | None:
    """The function that runs when ``callee`` is called."""
    return project.method(callee, "__init__") if isinstance(callee, Class) else callee


def _is_autograd_context(term: Term, function: Function) -> bool:
    """Is ``term`` the ``ctx`` of a ``torch.autograd.Function``, which no module is?"""
    if not isinstance(term, Param) or function.facts.name not in ("forward", "backward", "setup_context"):
        return False
    return term.name == "ctx" and "staticmethod" in function.facts.decorators


def is_receiver(term: Term, function: Function) -> bool:
    """Is ``term`` the ``self`` of ``function`` (also from a function nested in a method)?"""
    if not isinstance(term, Param):
        return False
    if function.receiver is not None:
        return term.name == function.receiver and term.function == function.facts.qualname
    return term.name == "self"


def bound_arguments(call: Call, function: Function) -> dict[str, Term]:
    """Arguments of ``call`` by the parameter of ``function`` that receives them."""
    bound = {parameter.name: term for parameter, term in zip(function.positional, call.args, strict=False)}
    bound.update((name, term) for name, term in call.keywords)
    return bound


def stored_values(term: Term) -> Iterable[Term]:
    """What an element of a literal container may be: ``for key, value in {...}.items()`` and the like."""
    match term:
        case Item(base=Element(source=Call(func=Attr(base=MappingTerm() as table, name="items"))), key=key):
            index = getattr(key, "value", None)
            return tuple(pair[index] for pair in table.pairs) if index in (0, 1) else ()
        case (
            Item(base=MappingTerm() as table)
            | Element(source=Call(func=Attr(base=MappingTerm() as table, name="values")))
        ):
            return tuple(value for _, value in table.pairs)
        case Element(source=Sequence() as row) | Item(base=Sequence() as row):
            return row.items
        case _:
            return ()


def _exports(event: Event, function: Function) -> bool:
    """``destination["lora_up.weight"] = self.lora_up.weight * self.scalar``, for a dictionary made here."""
    made_here = isinstance(event.target, Item) and isinstance(event.target.base, MappingTerm)
    return (
        made_here
        and not event.sign
        and isinstance(event.value, Op)
        and isinstance(event.value.left, Attr)
        and any(is_receiver(part, function) for part in walk(event.value.left))
    )


def _holds_scalars(container: Term) -> bool:
    """Is this a dictionary of numbers by its name, such as ``self.scaling``?"""
    name = container.name if isinstance(container, Attr | Param | Global) else ""
    return number_role(name, lora_context=True) is not None
