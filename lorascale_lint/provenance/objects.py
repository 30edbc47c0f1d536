"""Objects of the project's classes: how they are made, what their fields hold, what is inherited."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from lorascale_lint.knowledge.roles import NUMBERS
from lorascale_lint.ledger.entries import Store
from lorascale_lint.linking.program import ClassInfo, FunctionInfo
from lorascale_lint.provenance import calls, expressions, library, tensors
from lorascale_lint.provenance.heap import ABSENT, Entries, Items, Names
from lorascale_lint.provenance.machine import DEPTH_LIMIT, Frame, Machine
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Const,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    join,
)

FIELD_LIMIT = 400
"""Methods of one class that are run to learn what they store."""


@dataclass(frozen=True, slots=True, eq=False)
class SuperOf(Value):
    """``super()`` of a method."""

    receiver: Value
    after: ClassInfo

    @staticmethod
    def make(m: Machine, args: list[Value]) -> Value:
        """``super()`` or ``super(Class, self)`` where the machine stands."""
        frame = m.frame
        receiver, after = frame.receiver, frame.owner
        outer = frame.names
        while receiver is None and outer.outer is not None:
            outer = outer.outer
            receiver = outer.local.get("self")
        if len(args) == 2:
            receiver = args[1]
            if isinstance(args[0], Klass):
                after = args[0].info
        if receiver is None or after is None:
            return UNKNOWN
        return SuperOf(receiver, after)


def new_object(m: Machine, cls: ClassInfo | None, path: str) -> Ref:
    """An object without fields."""
    key = m.heap.new()
    m.heap.write(key, "<path>", path)
    return Ref(key, "object", cls)


def construct(
    m: Machine, cls: ClassInfo, args: list[Value], keywords: list[tuple[str, Value]], node: ast.Call | None
) -> Value:
    """``Class(...)``."""
    made = new_object(m, cls, cls.name)
    found = m.program.method(cls, "__init__")
    if found is not None and "dataclass" not in " ".join(cls.decorators):
        calls.run_function(m, Closure(found[0], made, owner=found[1]), args, keywords, node)
        return made
    fields = record_fields(m, cls)
    if fields:
        _fill_record(m, cls, made, fields, args, keywords)
        post = m.program.method(cls, "__post_init__")
        if post is not None:
            calls.run_function(m, Closure(post[0], made, owner=post[1]), [], [], node)
        return made
    bases = m.program.library_bases(cls)
    if any(base.rpartition(".")[2] in ("dict", "OrderedDict", "UserDict") for base in bases):
        m.heap.write(made.key, "entries", Entries((), True))
    for name, value in keywords:
        m.heap.write(made.key, name, value)
    library.construct_base(m, made, bases, args, keywords)
    return made


def record_fields(m: Machine, cls: ClassInfo) -> list[str]:
    """Fields of a dataclass, named tuple or the like, in order."""
    found: dict[str, None] = {}
    for item in reversed(m.program.mro(cls)):
        for statement in item.node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if "ClassVar" not in ast.unparse(statement.annotation):
                found.setdefault(statement.target.id)
    return list(found)


def _fill_record(
    m: Machine,
    cls: ClassInfo,
    made: Ref,
    fields: list[str],
    args: list[Value],
    keywords: list[tuple[str, Value]],
) -> None:
    given = dict(zip(fields, args, strict=False))
    given.update(keywords)
    m.heap.write(made.key, "<fields>", tuple(fields))
    for name in fields:
        if name in given:
            m.heap.write(made.key, name, _in_class(m, cls, partial(expressions.named, m, given[name], name)))
        else:
            default = class_attribute(m, cls, name, made)
            m.heap.write(made.key, name, default)


def _in_class(m: Machine, cls: ClassInfo, function: object) -> Value:
    """Run ``function`` as code of the class's file."""
    if len(m.stack) >= DEPTH_LIMIT + 4:
        return UNKNOWN
    frame = Frame(cls.file, None, Names({}), owner=cls)
    frame.lora = m.speaks(None, cls.file, cls)
    m.enter(frame)
    try:
        return function()  # type: ignore[operator, no-any-return]
    finally:
        m.stack.pop()


# ---- fields -------------------------------------------------------------------------------


def load_attribute(m: Machine, value: Ref, name: str) -> Value:
    """``value.name`` of an object of the project."""
    stored = m.heap.read(value.key, name)
    if stored is not None and stored is not ABSENT:
        if isinstance(stored, Union) and any(option.value is ABSENT for option in stored.options):
            cls = value.cls
            if cls is None or not any(
                name in item.attributes or name in item.methods for item in m.program.mro(cls)
            ):
                return expressions.without_absent(stored)  # whoever reads it runs after it was set
            other = _unset(m, value, name)
            return join([(other if o.value is ABSENT else o.value, o.guards) for o in stored.options])
        return stored  # type: ignore[no-any-return]
    return _unset(m, value, name)


def _unset(m: Machine, value: Ref, name: str) -> Value:
    cls = value.cls
    if cls is not None:
        found = m.program.method(cls, name)
        if found is not None:
            info, owner = found
            if info.has("property", "cached_property", "functional_property"):
                return calls.run_function(m, Closure(info, value, owner=owner), [], [], None)
            receiver: Value | None = Klass(cls) if info.has("classmethod") else value
            return Closure(info, None if info.is_static else receiver, owner=owner)
        for item in m.program.mro(cls):
            if name in item.attributes:
                return class_attribute(m, item, name, value)
            if name in item.inner:
                return Klass(item.inner[name])
        known = library.base_attribute(m, value, m.program.library_bases(cls), name)
        if known is not None:
            return known
        hook = m.program.method(cls, "__getattr__")
        if hook is not None and m.steps and len(m.stack) < DEPTH_LIMIT - 4:
            made = calls.run_function(m, Closure(hook[0], value, owner=hook[1]), [Text((name,))], [], None)
            if not isinstance(made, Place) or made.role is not None:
                return made
    if name in ("__class__", "__dict__"):
        return Klass(cls) if cls is not None and name == "__class__" else Place(name)
    path = m.heap.read(value.key, "<path>") or "object"
    return m.place(name, Place(str(path)))


def class_attribute(m: Machine, cls: ClassInfo, name: str, receiver: Value) -> Value:
    """``Class.name``, or a field's default."""
    for item in m.program.mro(cls):
        if name in item.methods:
            info = item.methods[name]
            return Closure(info, Klass(cls) if info.has("classmethod") else None, owner=item)
        if name in item.inner:
            return Klass(item.inner[name])
        if name in item.attributes:
            node = item.attributes[name]
            if node is None:
                return _in_class(m, item, partial(m.place, name, Place(item.name)))
            value = _in_class(m, item, partial(expressions.evaluate, m, node))
            return _default_factory(m, node, value, name, item)
    if name == "__name__":
        return Text((cls.name,))
    return m.place(name, Place(cls.name)) if m.stack else UNKNOWN


def _default_factory(m: Machine, node: ast.expr, value: Value, name: str, cls: ClassInfo) -> Value:
    """``field(default=..., default_factory=...)`` of dataclasses."""
    if isinstance(node, ast.Call) and "field" in ast.unparse(node.func).lower():
        for keyword in node.keywords:
            if keyword.arg == "default":
                return _in_class(m, cls, partial(expressions.evaluate, m, keyword.value))
            if keyword.arg == "default_factory":
                factory = _in_class(m, cls, partial(expressions.evaluate, m, keyword.value))
                return _in_class(m, cls, partial(calls.call, m, factory, [], [], None))
        return _in_class(m, cls, lambda: m.place(name))
    return value


def store_attribute(m: Machine, owner: Value, name: str, value: Value, node: ast.AST) -> None:
    """``owner.name = value``."""
    match owner:
        case Ref(kind="object", cls=cls):
            if cls is not None:
                for item in m.program.mro(cls):
                    if name in item.setters:
                        calls.run_function(
                            m, Closure(item.setters[name], owner, owner=item), [value], [], None
                        )
                        return
            held = by_name(m, name, value, owner)
            _stored(m, owner, name, held, node)
            m.heap.write(owner.key, name, held)
        case Place(path=path):
            held = by_name(m, name, value, owner)
            _stored(m, owner, name, held, node)
            if name in ("data", "weight") and isinstance(value, Tensor) and value.kind == "adapted":
                return
            m.heap.write(("place", path), name, held)
        case Tensor(kind="A" | "B") if name in ("data", "weight"):
            if m.recording:
                m.ledger.stores.append(Store(m.spot(node), owner, name, value, owner, m.frame.guards))
        case Union(options=found):
            for option in found:
                store_attribute(m, option.value, name, value, node)
        case Klass(info=cls):
            m.modules[cls.file.filename, f"{cls.qualname}.{name}"] = value
        case _:
            pass


def _stored(m: Machine, owner: Value, name: str, value: Value, node: ast.AST) -> None:
    if m.recording:
        key = owner.key if isinstance(owner, Ref) else ("place", getattr(owner, "path", "?"))
        before = m.heap.read(key, name)
        m.ledger.stores.append(Store(m.spot(node), owner, name, value, before, m.frame.guards))


def by_name(m: Machine, name: str, value: Value, owner: Value) -> Value:
    """A tensor made here becomes what its field is called; unknown values get their role from the field."""
    from lorascale_lint.knowledge.roles import role_of

    lora = m.frame.lora
    holder = owner.cls if isinstance(owner, Ref) and owner.cls is not None else None
    if holder is None and isinstance(owner, Ref):
        holder = m.heap.read(owner.key, "<class>")
    origin = name if holder is None else f"{holder.name}.{name}"
    value = expressions.rank_for_alpha(m, value, name)
    if isinstance(value, Union):
        return join([(by_name(m, name, option.value, owner), option.guards) for option in value.options])
    if isinstance(value, Tensor) and value.kind == "fresh":
        role = role_of(name, lora)
        shaped = library.by_extents(value)
        if not value.scale.powers:
            value = replace(value, scale=ONE)  # the spread of an initialisation
        factor = role if role in ("A", "B") else shaped
        if factor is not None:  # whatever multiplies a start value is its spread, and no scale
            return Tensor(factor, module=value.module, dims=value.dims, origin=origin, learned=value.learned)
        if role == "magnitude" and not value.module:
            return Tensor("magnitude", origin=origin, learned=True)
        if role == "kronecker":
            return Tensor("kronecker", origin=origin)
        if role == "base" and value.module:
            return Tensor("base", module=True, dims=value.dims, origin=name)
        return Tensor(**{**expressions._fields(value), "origin": name})
    if isinstance(value, Tensor) and value.kind == "norm" and role_of(name, lora) == "magnitude":
        return Tensor("magnitude", origin=origin, learned=True)
    if isinstance(value, Place) and value.role is None:
        role = role_of(name, lora)
        if role is not None:
            return Place(value.path, role, True, made=value.made)
    if isinstance(value, Ref) and value.kind in ("list", "dict"):
        _name_elements(m, name, value)
    if isinstance(value, Tup):
        return Tup(tuple(by_shape_alone(item) for item in value.items))
    if isinstance(value, Ref) and value.kind in ("dict", "list") and m.heap.read(value.key, "<path>") is None:
        m.heap.write(value.key, "<path>", name)
        if isinstance(owner, Ref) and owner.cls is not None:
            m.heap.write(value.key, "<class>", owner.cls)
    return value


def load_entry(m: Machine, value: Ref, key: Value) -> Value:
    """``value[key]`` of an object that is a dictionary by inheritance."""
    entries = m.heap.read(value.key, "entries")
    if isinstance(entries, Entries):
        found = expressions.match_entry(entries, key)
        if found is not None:
            return expressions.without_absent(found)
    path = m.heap.read(value.key, "<path>") or "object"
    return expressions.place_entry(m, Place(str(path)), key)


# ---- what a class holds, whoever made the object ------------------------------------------


def instance(m: Machine, cls: ClassInfo) -> Ref:
    """An object of ``cls`` as any code may have made it: constructed, and every method called or not."""
    known = m.instances.get(cls)
    if known is not None:
        return known
    journals, m.heap.journals = m.heap.journals, []
    recording, m.recording = m.recording, False
    stack, m.stack = m.stack, []
    steps, m.steps = m.steps, 0
    made = new_object(m, cls, "self")
    m.instances[cls] = made
    try:
        _settle(m, cls, made)
    finally:
        m.heap.journals, m.recording, m.stack, m.steps = journals, recording, stack, steps
    return made


def _settle(m: Machine, cls: ClassInfo, made: Ref) -> None:
    from lorascale_lint.provenance.machine import OutOfSteps

    found = m.program.method(cls, "__init__")
    try:
        if found is not None and "dataclass" not in " ".join(cls.decorators):
            run_unknown(m, found[0], made, found[1])
        else:
            for name in record_fields(m, cls):
                value = _in_class(m, cls, partial(_field_place, m, cls, name))
                m.heap.write(made.key, name, value)
            m.heap.write(made.key, "<fields>", tuple(record_fields(m, cls)))
            library.construct_base(m, made, m.program.library_bases(cls), [], [])
    except (OutOfSteps, RecursionError):
        pass
    _open_flags(m, cls, made)
    _open_containers(m, made)
    seen = {"__init__"}
    for item in m.program.mro(cls):
        for name, info in list(item.methods.items()):
            if name in seen or len(seen) > FIELD_LIMIT:
                continue
            seen.add(name)
            if not _stores(info):
                continue
            m.steps = 0
            m.heap.begin()
            ok = True
            try:
                run_unknown(m, info, made, item)
            except (OutOfSteps, RecursionError):
                ok = False
            while len(m.heap.journals) > 1:
                m.heap.keep()
            changed = m.heap.undo()
            if ok:
                guard = ((f"after {name}()", True),)
                kept = {
                    cell: value
                    for cell, value in changed.items()
                    if _is_state(value) and not _only_strength(m, cell, value)
                }
                first = {cell: value for cell, value in kept.items() if m.heap.cells.get(cell) is None}
                first |= {  # 1 until somebody sets it
                    cell: value
                    for cell, value in kept.items()
                    if isinstance(value, Place)
                    and value.role in NUMBERS
                    and _is_start(m.heap.cells.get(cell))
                }
                # Set here and nowhere earlier: whoever reads it comes later.
                for cell, value in first.items():
                    m.heap.write(*cell, value)
                    del kept[cell]
                m.heap.apply([(kept, guard), ({}, ((f"after {name}()", False),))])


def _name_elements(m: Machine, name: str, value: Ref) -> None:
    """Tensors made here become what the list or dictionary that holds them is called."""
    held = m.heap.read(value.key, "items")
    if isinstance(held, Items):
        named = tuple(by_name(m, name, item, value) if _is_fresh(item) else item for item in held.values)
        if named != held.values:
            m.heap.write(value.key, "items", Items(named, held.open))
    entries = m.heap.read(value.key, "entries")
    if isinstance(entries, Entries):
        pairs = tuple(
            (key, by_name(m, name, item, value) if _is_fresh(item) else item) for key, item in entries.pairs
        )
        if pairs != entries.pairs:
            m.heap.write(value.key, "entries", Entries(pairs, entries.open))


def _is_fresh(value: Value) -> bool:
    return isinstance(value, Tensor) and value.kind == "fresh"


def by_shape_alone(value: Value) -> Value:
    """A bare tensor of two extents, one of which is the rank, in the layout of torch."""
    if isinstance(value, Tensor) and value.kind == "fresh" and len(value.dims) == 2:
        side = tensors.side_by_extents(value)
        if side is not None:
            return replace(value, kind=side)
    return value


def _open_containers(m: Machine, made: Ref) -> None:
    """Lists and dictionaries that start empty are filled by somebody, maybe out of sight."""
    for _, value in m.heap.of(made.key):
        if isinstance(value, Ref) and value.kind in ("list", "dict"):
            slot = "items" if value.kind == "list" else "entries"
            held = m.heap.read(value.key, slot)
            if isinstance(held, Items) and not held.values:
                m.heap.write(value.key, slot, Items((), True))
            elif isinstance(held, Entries) and not held.pairs:
                m.heap.write(value.key, slot, Entries((), True))


@lru_cache(maxsize=20_000)
def _written(info: FunctionInfo) -> frozenset[str]:
    """Names of the attributes that a function sets."""
    nodes = (node for node in ast.walk(info.node) if isinstance(node, ast.Attribute))
    return frozenset(node.attr for node in nodes if isinstance(node.ctx, ast.Store))


def _open_flags(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """A flag that some method sets has any value when another one asks for it."""
    flags = [
        slot
        for slot, value in m.heap.of(made.key)
        if isinstance(value, Const) and isinstance(value.value, bool) and isinstance(slot, str)
    ]
    if not flags:
        return
    written: set[str] = set()
    for item in m.program.mro(cls):
        for name, info in item.methods.items():
            written |= _written(info) if name != "__init__" else set()
    for flag in flags:
        if flag in written:
            m.heap.write(made.key, flag, Place(f"self.{flag}"))


def _field_place(m: Machine, cls: ClassInfo, name: str) -> Value:
    for item in m.program.mro(cls):
        if name in item.attributes:
            node = item.attributes[name]
            place = m.place(name)
            if isinstance(node, ast.Constant) and node.value is None:
                return join(
                    [(place, ((f"self.{name} is None", False),)), (NONE, ((f"self.{name} is None", True),))]
                )
            for statement in item.node.body:
                match statement:
                    case ast.AnnAssign(target=ast.Name(id=field), annotation=annotation) if field == name:
                        target = m.program.resolve(item.file, ast.unparse(annotation).strip("\"'"))
                        if isinstance(target, ClassInfo) and target is not cls:
                            return instance(m, target)
            return place
    return m.place(name)


@lru_cache(maxsize=20_000)
def _stores(info: FunctionInfo) -> bool:
    """Does the method write fields of its receiver, or into them?"""
    for node in ast.walk(info.node):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            return True
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in (
                "append",
                "update",
                "setdefault",
                "register_buffer",
                "register_parameter",
                "add_module",
                "extend",
            ):
                return True
            if node.func.attr.endswith("_"):
                return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            return True
    return False


def _is_start(value: object) -> bool:
    return isinstance(value, Number) and value.scale.constant is not None


def _only_strength(m: Machine, cell: object, value: object) -> bool:
    """Is this what was there, times a number that a user gives: another strength, for later?"""
    before = m.heap.cells.get(cell)  # type: ignore[call-overload]
    if before is None or not isinstance(value, Number | Union | Entries | Place):
        return False
    return _scales(value) <= _scales(before) and before != value


def _scales(value: object) -> frozenset[object]:
    """The scales that a field or the entries of a dictionary hold, without what a user gives."""
    match value:
        case Number(scale=scale):
            kept = tuple(p for p in scale.powers if p[0].role not in ("strength", "multiplier"))
            return frozenset([Scale(scale.coefficient, kept).by_role()])
        case Union(options=options):
            return frozenset(
                found for option in options if option.value is not ABSENT for found in _scales(option.value)
            )
        case Entries(pairs=pairs):
            return frozenset(found for _, item in pairs for found in _scales(item))
        case _:
            return frozenset([value])


def _is_state(value: object) -> bool:
    """Worth to remember from a method that may have run before: no merged weight, no batch."""
    if isinstance(value, Tensor):
        return value.kind not in ("adapted", "data", "half", "base", "delta", "norm", "mask") and not (
            value.kind == "magnitude" and value.scale.powers
        )
    if isinstance(value, Place):
        return value.role is not None or "." not in value.path
    if isinstance(value, Union):
        return all(_is_state(option.value) for option in value.options if option.value is not ABSENT)
    return value is not None


def run_unknown(
    m: Machine,
    info: FunctionInfo,
    receiver: Value | None,
    owner: ClassInfo | None,
    outer: Names | None = None,
) -> Value:
    """Run a function as its file alone shows it: nothing is known of its arguments."""
    frame = Frame(
        info.file,
        info,
        Names({}, outer or (info.owner.names if info.owner else None)),
        receiver,
        owner or info.owner,
    )
    if info.has("classmethod") and isinstance(receiver, Ref) and receiver.cls is not None:
        frame.receiver = Klass(receiver.cls)
    frame.lora = m.speaks(info, info.file, owner or info.owner)
    m.enter(frame)
    m.heap.begin()
    from lorascale_lint.knowledge.operations import INITIALISERS

    initialiser = info.name in INITIALISERS
    m.initialising += initialiser
    try:
        calls.bind_unknown(m, frame, info)
        return calls._finish(m, frame, info)
    finally:
        while len(m.heap.journals) > frame.journal:
            m.heap.keep()
        m.initialising -= initialiser
        m.stack.pop()


__all__ = [
    "Const",
    "Library",
    "Method",
    "Partial",
    "construct",
    "instance",
    "load_attribute",
    "store_attribute",
]
