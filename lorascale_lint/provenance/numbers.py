"""What happens to single numbers, as entries of the ledger: names they get, quotients, roundings."""

from __future__ import annotations

import ast

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.operations import OPERATIONS, TYPED, WHOLE, WHOLE_TYPES
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, RANK, role_of
from lorascale_lint.ledger.entries import Ask, Bind, KeyRead, Quotient, Rounding
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import COUNTED, EXTENT, LENGTH, Scale
from lorascale_lint.provenance.shapes import SHAPE
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Const,
    Library,
    Place,
    Text,
    Tup,
    Value,
    is_one,
    options,
)


def asked(m: Machine, node: ast.AST, how: str, value: Value, other: Value | None = None) -> None:
    """Writes down that a number of LoRA code or a flag is tested, or what class a value is of."""
    if m.recording and (how == "isinstance" or _is_number(value) or _is_flag(value)):
        atom = m.atom(node) if isinstance(node, ast.expr) else ""
        m.ledger.asks.append(Ask(m.spot(node), value, how, other, m.frame.guards, atom))


def compared(m: Machine, node: ast.Compare, op: ast.cmpop, left: Value, right: Value) -> None:
    """Writes down that a number is compared, or a key looked for."""
    if isinstance(op, ast.In | ast.NotIn):
        if m.recording and isinstance(left, Text | Place):
            m.ledger.reads.append(KeyRead(m.spot(node), right, left, UNKNOWN, "in", m.frame.guards))
        return
    if right == NONE and isinstance(node.comparators[0], ast.Constant):
        asked(m, node, "none", left, right)
    else:
        asked(m, node, type(op).__name__, left, right)


def bound(m: Machine, target: ast.AST, name: str, value: Value) -> None:
    """Writes down that a local name of a number is set, or any to a number, or a row, with alpha in it."""
    held = value.items if isinstance(value, Tup) else (value,)
    if m.recording and (role_of(name, m.frame.lora) in NUMBERS or any(ALPHA in _roles(v) for v in held)):
        m.ledger.binds.append(Bind(m.spot(target), name, value, m.frame.guards))


def divided(
    m: Machine, node: ast.AST, value: Value, by: Value, floor: bool, result: Value, guards: Guards
) -> None:
    """Writes down that a number is divided by one of LoRA code, under the conditions ``guards``."""
    if m.recording and _roles(by) & {ALPHA, RANK, EXTENT} and _is_number(value):
        m.ledger.quotients.append(Quotient(m.spot(node), value, by, floor, result, guards))


def rank_by_use(alpha: Value, by: Value) -> Value:
    """``by``; the rank, if it is an extent of what stands beside ``alpha`` in a table, however called.

    ``sd[f"{name}.alpha"] / sd[f"{name}.low"].shape[0]``: nothing but the rank divides an alpha.
    """
    alphas = {item.powers[0][0].origin for item in _scales(alpha) if item.by_role() == Scale.of(ALPHA)}
    tables = {origin.partition("[")[0] for origin in alphas if "[" in origin}
    known = number(by)
    if not tables or known is None or len(known.scale.powers) != 1 or known.scale.coefficient != 1:
        return by
    symbol, power = known.scale.powers[0]
    table, bracket, rest = symbol.origin.partition("[")
    if symbol.role or power != 1 or table not in tables or not bracket or not rest.endswith(SHAPE):
        return by
    return replace(known, scale=Scale.of(RANK, symbol.origin))


def rounded(
    m: Machine, name: str, args: list[Value], named: dict[str, Value], node: ast.AST | None, made: Value
) -> None:
    """Writes down that an alpha is made a whole number, if the operation ``name`` does that."""
    if not m.recording or not isinstance(node, ast.Call):
        return
    plain = OPERATIONS.get(name) == "number"
    method = isinstance(node.func, ast.Attribute) and len(args) > len(node.args)
    assert not method or isinstance(node.func, ast.Attribute)
    if name in WHOLE:
        pass
    elif name not in TYPED or _last_name(named.get("dtype", args[-1] if args else None)) not in WHOLE_TYPES:
        return
    at = 1 if name == "full" and len(node.args) > 1 else 0
    if method:
        operand: ast.expr = node.func.value  # type: ignore[attr-defined] # an attribute, as `method` says
    elif len(node.args) > at:
        operand = node.args[at]
    else:
        return
    value = args[0] if plain and args else made
    written = operand.attr if isinstance(operand, ast.Attribute) else getattr(operand, "id", "")
    if ALPHA in _roles(value) or role_of(written, m.frame.lora) == ALPHA:
        spot = m.spot(node)
        how = name if plain and not method else "tensor"
        entry = Rounding(spot, replace(spot, node=operand), value, made, how, m.frame.guards)
        m.ledger.roundings.append(entry)


def _last_name(value: Value | None) -> str:
    """``int32`` of ``torch.int32`` or ``"int32"``."""
    if isinstance(value, Library):
        return value.name.rpartition(".")[2]
    return value.literal or "" if isinstance(value, Text) else ""


def _is_number(value: Value) -> bool:
    return any(
        number(option.value) is not None and not isinstance(option.value, Const) for option in options(value)
    )


def _is_flag(value: Value) -> bool:
    """Is the value True on some ways and False on others?"""
    found = [option.value for option in options(value)]
    return len(found) > 1 and all(isinstance(one, Const) and isinstance(one.value, bool) for one in found)


def _roles(value: Value) -> set[str]:
    return {symbol.role for scale in _scales(value) for symbol, _ in scale.powers}


def _scales(value: Value) -> list[Scale]:
    found = (number(option.value) for option in options(value))
    return [item.scale for item in found if item is not None]


def counted(value: Value, held: tuple[list[Value], bool] | None, node: ast.Call | None) -> str:
    """The origin of a length: lengths that may be others must not cancel, and a list can grow between two."""
    if isinstance(value, Place) and is_one(value):
        return f"{LENGTH} of {value.path}"
    of = _origin(held[0][0]) if held is not None and held[0] else ""
    item = f" of {of}" if of else ""
    return f"{LENGTH}{item}{COUNTED}{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"


def _origin(item: Value) -> str:
    """Where something that is counted comes from; of a number the alpha in it."""
    known = number(item) if not isinstance(item, Place) else None
    alphas = [symbol.origin for symbol, _ in known.scale.powers if symbol.role == ALPHA] if known else []
    return alphas[0] if alphas else str(getattr(item, "path", ""))
