"""The keys of adapter dictionaries, function by function: read, tested, thrown away, written, handed on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, Ref, Tup, Value, options

READS = ("item", "get", "pop")
"""Ways to read an entry, beside ``in`` (asked for) and ``del`` (thrown away)."""


@immutable(frozen=True, slots=True)
class KeyTraffic:
    """What one function does with keys. Roles are those of `lorascale_lint.knowledge.roles`."""

    look: Look

    @property
    def function(self) -> FunctionInfo | None:
        """The function; None for the top level of a file."""
        return self.look.function

    @property
    def opened(self) -> list[Use]:
        """Where it opens adapter files, or takes the tensors of a model."""
        return [use for use in self.look.uses if _opens(use.result)]

    def read(self, *roles: str) -> list[KeyRead]:
        """Entries of these roles that are taken out of a dictionary."""
        return [r for r in self.look.reads if r.how in READS and key_role_of(r.key) in roles]

    def asked(self, *roles: str) -> list[KeyRead]:
        """Keys of these roles that are only looked for: ``key in tensors``."""
        return [r for r in self.look.reads if r.how == "in" and key_role_of(r.key) in roles]

    def thrown(self, *roles: str) -> list[KeyRead]:
        """Entries of these roles that are thrown away."""
        return [r for r in self.look.reads if r.how == "del" and key_role_of(r.key) in roles]

    def written(self, *roles: str) -> list[KeyWrite]:
        """Entries of these roles that are put into a dictionary."""
        return [w for w in self.look.writes if key_role_of(w.key) in roles]

    def handed(self, *roles: str) -> Iterator[tuple[Use, str]]:
        """Calls that are given a tensor or number of these roles, with the parameter that gets it."""
        for use in self.look.uses:
            for parameter, value in use.given.items():
                if any(roles_of_value(part) & set(roles) for part in _flat(value)):
                    yield use, parameter


def key_traffic(ledger: Ledger, *, callees: bool = False) -> list[KeyTraffic]:
    """One for each function; with ``callees``, what it calls is part of it."""
    return [KeyTraffic(look) for look in looks(ledger, callees=callees)]


@immutable(frozen=True, slots=True)
class Filled:
    """An entry of a field, ``self.adapters[name]``, into which a function puts tensors of a file by key."""

    write: KeyWrite
    entry: KeyRead
    field: str
    opened: Spot
    asked: KeyRead | None
    """Where the function asks whether a key is there already."""
    once: bool
    """Does that happen only for a name that is not there yet?"""


def filled_from_files(traffic: KeyTraffic) -> Iterator[Filled]:
    """The entries that a function fills, whose name is one of its parameters."""
    function = traffic.function
    files = traffic.opened if traffic.look.writes and function is not None else []
    if function is None or not files:
        return
    for write in traffic.look.writes:
        node = write.spot.node
        if write.spot.function is not function:
            continue
        values = (option.value for option in options(write.value))
        opened = next((spot for value in values if (spot := _opened_in(files, value)) is not None), None)
        if opened is None:
            continue
        match node:
            case ast.Subscript(
                value=ast.Subscript(value=ast.Attribute(attr=field), slice=ast.Name(id=name)) as entry
            ):
                if name not in function.parameters or getattr(write.key, "literal", None) is not None:
                    continue
            case _:
                continue
        read = next((read for read in traffic.look.reads if read.spot.node is entry), None)
        if read is not None:
            asked = [r for r in traffic.look.reads if r.how == "in" and r.container == write.container]
            once = any(atom.startswith(f"{name} in ") and not holds for atom, holds in write.guards)
            yield Filled(write, read, field, opened, asked[0] if asked else None, once)


def _opened_in(files: list[Use], container: Value) -> Spot | None:
    """Where the file was opened that ``container`` holds, or that a value under a key of it came from."""
    path = getattr(container, "path", "")
    for use in files:
        own = use.result.path if isinstance(use.result, Place) else ""
        if own and (path == own or path.startswith(f"{own}[")):
            return use.spot
    return None


def roles_of_value(value: Value) -> set[str]:
    """The roles in what is passed on: a factor, alpha, rank or others."""
    found: set[str] = set()
    for option in options(value):
        role = getattr(option.value, "role", None) or getattr(option.value, "kind", None)
        scale = getattr(option.value, "scale", None)
        found |= {role} if role else set()
        found |= {symbol.role for symbol, _ in scale.powers} if scale is not None else set()
    return found


def _opens(value: Value) -> bool:
    return any(isinstance(o.value, Place) and o.value.made == "state dict" for o in options(value))


def _flat(value: Value) -> Iterator[Value]:
    for option in options(value):
        if isinstance(option.value, Tup):
            for item in option.value.items:
                yield from _flat(item)
        elif not isinstance(option.value, Ref):
            yield option.value


def is_emptied(traffic: KeyTraffic, filled: Filled) -> bool:
    """Is the entry emptied, or replaced as a whole, by the loader or what it calls?"""
    look, holder = traffic.look, filled.entry.container
    return (
        any(write.container == holder for write in look.writes)
        or any(store.field == filled.field for store in look.stores)
        or any(read.container == holder and read.how in ("pop", "del") for read in look.reads)
        or any(use.name.endswith(".clear") and f".{filled.field}" in use.spot.written for use in look.uses)
    )
