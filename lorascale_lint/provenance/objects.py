"""Objects of the project: making them, reading and writing their fields."""

from __future__ import annotations

import ast
from functools import partial

from lorascale_lint.bounds import DEPTH_LIMIT
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.decorators import PROPERTIES
from lorascale_lint.knowledge.interfaces import CALLED_AS
from lorascale_lint.knowledge.members import OF_EVERY_OBJECT
from lorascale_lint.ledger.entries import Store
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.decorators import method
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import ABSENT, Entries, Names
from lorascale_lint.provenance.lookups import without_absent
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import REST
from lorascale_lint.provenance.meanings import by_name, named
from lorascale_lint.provenance.modules import base_attribute, construct_base
from lorascale_lint.provenance.running import declared_fields, run_function
from lorascale_lint.provenance.states import settable
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Klass,
    Place,
    Ref,
    Tensor,
    Text,
    Union,
    Value,
    is_one,
    join,
    options,
)


@immutable(frozen=True, slots=True)
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
        init = method(m, found[0], found[1], made)
        if isinstance(init, Place):
            init = Closure(found[0], made, owner=found[1])  # its fields are made, whatever is done beside
        m.call(init, args, keywords, node)
        return made
    fields = declared_fields(m, cls)
    if fields:
        _fill_record(m, cls, made, fields, args, keywords)
        post = m.program.method(cls, "__post_init__")
        if post is not None:
            run_function(m, Closure(post[0], made, owner=post[1]), [], [], node)
        return made
    bases = m.program.library_bases(cls)
    if any(base.rpartition(".")[2] in ("dict", "OrderedDict", "UserDict") for base in bases):
        m.heap.write(made.key, "entries", Entries((), True))
    for name, value in keywords:
        if name != REST:
            m.heap.write(made.key, name, value)
    construct_base(m, made, bases, args, keywords)
    return made


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
    hidden = given.pop(REST, None) is not None
    m.heap.write(made.key, "<fields>", tuple(fields))
    for name in fields:
        if name in given:
            m.heap.write(made.key, name, in_class(m, cls, partial(named, m, given[name], name)))
        else:
            default = class_attribute(m, cls, name, made)
            m.heap.write(made.key, name, join([(default, ()), (m.place(name), ())]) if hidden else default)


def in_class(m: Machine, cls: ClassInfo, function: object) -> Value:
    """Run ``function`` as code of the class's file."""
    if len(m.stack) >= DEPTH_LIMIT + 4:
        m.memory.lose()
        return UNKNOWN
    frame = Frame(cls.file, None, Names({}), owner=cls)
    frame.lora = m.speaks(None, cls.file, cls)
    m.enter(frame)
    try:
        return function()  # type: ignore[operator, no-any-return]
    finally:
        m.stack.pop()


def load_attribute(m: Machine, value: Ref, name: str) -> Value:
    """``value.name`` of an object of the project."""
    stored = m.heap.read(value.key, name)
    if stored is not None and stored is not ABSENT:
        if isinstance(stored, Union) and any(option.value is ABSENT for option in stored.options):
            cls = value.cls
            if cls is None or not any(
                name in item.attributes or name in item.methods for item in m.program.mro(cls)
            ):
                return without_absent(stored)  # whoever reads it runs after it was set
            other = _unset(m, value, name)
            return join([(other if o.value is ABSENT else o.value, o.guards) for o in stored.options])
        return settable(m, value.cls, name, stored)
    return _unset(m, value, name)


def _unset(m: Machine, value: Ref, name: str) -> Value:
    cls = value.cls
    if cls is not None:
        found = m.program.method(cls, name)
        if found is not None:
            info, owner = found
            held = method(m, info, owner, Klass(cls) if info.has("classmethod") else value)
            if not isinstance(held, Place):
                return m.call(held, [], [], None) if info.has(*PROPERTIES) else held
            return _by_path(m, value, name)
        for item in m.program.mro(cls):
            if name in item.attributes:
                return class_attribute(m, item, name, value)
            if name in item.inner:
                return Klass(item.inner[name])
        known = base_attribute(m, value, m.program.library_bases(cls), name)
        if known is not None:
            return known
        hook = None if name in OF_EVERY_OBJECT else m.program.method(cls, "__getattr__")
        if hook is not None and m.steps and len(m.stack) < DEPTH_LIMIT - 4 and not _asked_for(m, value, name):
            made = run_function(m, Closure(hook[0], value, owner=hook[1]), [Text((name,))], [], None)
            if not isinstance(made, Place) or made.role is not None:
                return made
    if name in ("__class__", "__dict__"):
        return Klass(cls) if cls is not None and name == "__class__" else Place(name)
    return _by_path(m, value, name)


def _asked_for(m: Machine, value: Ref, name: str) -> bool:
    """Does a ``__getattr__`` of the object run that was asked for this name? Then the object has it.

    The hook would ask itself without end otherwise.
    """
    for depth, frame in enumerate(m.stack):
        function = frame.function
        if function is not None and function.name == "__getattr__" and frame.receiver == value:
            asked = function.positional[1:2]
            if asked and frame.names.local.get(asked[0].arg) == Text((name,)):
                m.memory.depends_on_caller(depth)
                return True
    return False


def _by_path(m: Machine, value: Ref, name: str) -> Place:
    """What is called ``name`` of an object, and not known."""
    return m.place(name, Place(str(m.heap.read(value.key, "<path>") or "object")))


def class_attribute(m: Machine, cls: ClassInfo, name: str, receiver: Value) -> Value:
    """``Class.name``, or a field's default."""
    for item in m.program.mro(cls):
        if name in item.methods:
            info = item.methods[name]
            return method(m, info, item, Klass(cls) if info.has("classmethod") else None)
        if name in item.inner:
            return Klass(item.inner[name])
        if name in item.attributes:
            node = item.attributes[name]
            if node is None:
                return in_class(m, item, partial(m.place, name, Place(item.name)))
            value = in_class(m, item, partial(m.evaluate, node))
            return _default_factory(m, node, value, name, item)
    if name == "__name__":
        return Text((cls.name,))
    called = CALLED_AS.get(name)
    if called is not None and called.base in m.program.library_bases(cls):
        found = m.program.method(cls, called.method)
        if found is not None:
            return Closure(found[0], None, given=(new_object(m, None, called.first),), owner=found[1])
    if name == "__annotations__" and m.stack:
        fields = list(dict.fromkeys(n for item in m.program.mro(cls) for n in item.attributes))
        return m.new_dict([(Text((n,)), UNKNOWN) for n in fields], bool(m.program.library_bases(cls)))
    return m.place(name, Place(cls.name)) if m.stack else UNKNOWN


def _default_factory(m: Machine, node: ast.expr, value: Value, name: str, cls: ClassInfo) -> Value:
    """``field(default=..., default_factory=...)`` of dataclasses."""
    if isinstance(node, ast.Call) and "field" in ast.unparse(node.func).lower():
        for keyword in node.keywords:
            if keyword.arg == "default":
                return in_class(m, cls, partial(m.evaluate, keyword.value))
            if keyword.arg == "default_factory":
                factory = in_class(m, cls, partial(m.evaluate, keyword.value))
                return in_class(m, cls, partial(m.call, factory, [], [], None))
        return in_class(m, cls, lambda: m.place(name))
    return value


def store_attribute(m: Machine, owner: Value, name: str, value: Value, node: ast.AST) -> None:
    """``owner.name = value``."""
    match owner:
        case Ref(kind="object", cls=cls):
            if cls is not None:
                for item in m.program.mro(cls):
                    if name in item.setters:
                        run_function(m, Closure(item.setters[name], owner, owner=item), [value], [], None)
                        return
            held = by_name(m, name, value, owner)
            _stored(m, owner, name, held, node)
            m.heap.write(owner.key, name, held)
        case Place(path=path):
            held = by_name(m, name, value, owner)
            _stored(m, owner, name, held, node)
            if name in ("data", "weight") and isinstance(value, Tensor) and value.kind == "adapted":
                return
            if name == "data" and owner.role == "base" and any(o.value == NONE for o in options(held)):
                return  # a saved weight that is put back, looked at where none is saved
            if is_one(owner):
                m.heap.write(("place", path), name, held)
        case Tensor(kind="A" | "B" | "base") if name in ("data", "weight"):
            if m.recording:
                m.ledger.stores.append(Store(m.spot(node), owner, name, value, owner, m.frame.guards))
        case Union(options=found):
            for option in found:
                store_attribute(m, option.value, name, value, node)
        case Klass(info=cls):
            m.memory.lose()
            m.modules[cls.file.filename, f"{cls.qualname}.{name}"] = value
        case _:
            pass


def _stored(m: Machine, owner: Value, name: str, value: Value, node: ast.AST) -> None:
    if m.recording:
        key = owner.key if isinstance(owner, Ref) else ("place", getattr(owner, "path", "?"))
        before = m.heap.read(key, name)
        m.ledger.stores.append(Store(m.spot(node), owner, name, value, before, m.frame.guards))
