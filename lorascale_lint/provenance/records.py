"""Records of one module's tensors: they start empty, and a loader fills them by the keys of a file."""

from __future__ import annotations

from functools import partial

from lorascale_lint.knowledge.roles import ALPHA, FACTORS, role_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.fields import filled_from_outside
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import FILLED
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


def _start(m: Machine, cls: ClassInfo, made: Ref, name: str) -> Value:
    """What a field holds where nobody gives it a value."""
    declared = any(name in item.attributes for item in m.program.mro(cls))
    return class_attribute(m, cls, name, made) if declared else load_attribute(m, made, name)
