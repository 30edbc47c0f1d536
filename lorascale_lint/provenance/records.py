"""Fields that start empty: of records, which loaders fill by the keys of a file, and of abstract classes."""

from __future__ import annotations

from functools import partial

from lorascale_lint.knowledge.roles import ALPHA, FACTORS, role_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.fields import filled_from_outside
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import FILLED, none_question
from lorascale_lint.provenance.objects import class_attribute, in_class, load_attribute
from lorascale_lint.provenance.states import is_start
from lorascale_lint.provenance.values import NONE, Place, Ref, Value, join


def open_records(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """Where both factors start as None and other code of the file sets them, they and alpha may have come."""
    names = {slot for slot, _ in m.heap.of(made.key) if isinstance(slot, str)}
    names |= {name for item in m.program.mro(cls) for name in item.attributes}
    roles = {name: role for name in names if (role := role_of(name, True)) in (*FACTORS, ALPHA)}
    if not set(roles.values()) >= FACTORS:
        return
    starts = {name: in_class(m, cls, partial(_start, m, cls, made, name)) for name in sorted(roles)}
    filled = filled_from_outside(cls.file)
    empty = [name for name, value in starts.items() if value == NONE and {name, ""} & filled]
    if not {roles[name] for name in empty} >= FACTORS:
        return
    empty += [name for name, value in starts.items() if roles[name] == ALPHA and is_start(value)]
    for name in empty:
        place = in_class(m, cls, partial(m.place, name, Place("self")))
        guard = f"{name}{FILLED}"
        m.heap.write(made.key, name, join([(place, ((guard, True),)), (starts[name], ((guard, False),))]))


def open_for_subclasses(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """What an abstract class starts as None, and never sets, is what its subclasses put there, or None."""
    methods = {name for item in m.program.mro(cls) for name in item.methods}
    found = [m.program.method(cls, name) for name in sorted(methods)]
    if not any(item is not None and item[0].has("abstractmethod") for item in found):
        return
    for slot, value in m.heap.of(made.key):
        if isinstance(slot, str) and value == NONE:
            place = in_class(m, cls, partial(m.place, slot, Place("self")))
            asked = none_question(f"self.{slot}")
            m.heap.write(made.key, slot, join([(place, ((asked, False),)), (NONE, ((asked, True),))]))


def _start(m: Machine, cls: ClassInfo, made: Ref, name: str) -> Value:
    """What a field holds where nobody gives it a value."""
    declared = any(name in item.attributes for item in m.program.mro(cls))
    return class_attribute(m, cls, name, made) if declared else load_attribute(m, made, name)
