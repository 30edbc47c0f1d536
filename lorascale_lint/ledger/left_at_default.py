"""Calls that could be told alpha, and leave it at the default of what they call."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, RANK, role_of
from lorascale_lint.ledger.entries import Store, Use, argument_of, has_star
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import NONE, Place, Value, options


@immutable(frozen=True, slots=True, eq=False)
class LeftAlpha:
    """``use`` leaves ``parameter``, the only alpha of ``target``, at ``default``."""

    use: Use
    caller: FunctionInfo
    target: FunctionInfo
    parameter: str
    default: object
    declared: Spot
    """Where the parameter stands."""

    def ranks(self) -> Iterator[tuple[str, Value, Spot | None]]:
        """What the call gives as rank: parameter, value and argument."""
        for name, value in self.use.given.items():
            if role_of(name, True) == RANK:
                yield name, value, argument_of(self.use, name)

    def stored(self, ledger: Ledger) -> set[str]:
        """Fields that the target computes from the parameter."""
        return {
            store.field
            for store in ledger.stores
            if store.spot.function is self.target
            and not store.spot.chain
            and mentions(store.value, self.parameter)
        }


def left_alphas(ledger: Ledger) -> Iterator[LeftAlpha]:
    """Calls of the project's functions and classes without their alpha, each once."""
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        call, caller = use.spot.node, use.spot.function
        target = constructor(ledger, use.callee)
        if target is None or caller is None or target is caller or use.spot.chain or use.spot.file.is_test:
            continue
        if not isinstance(call, ast.Call) or call in seen or use.hidden:
            continue
        alphas = [item for item in _parameters(target) if role_of(item.arg, True) == ALPHA]
        default = default_of(target, alphas[0].arg) if len(alphas) == 1 else None
        if default is None or alphas[0].arg in use.given or alphas[0].arg not in _names(target.node):
            continue
        seen.add(call)
        declared = Spot(target.file, target, target.owner, alphas[0])
        yield LeftAlpha(use, caller, target, alphas[0].arg, default.value, declared)


def constructor(ledger: Ledger, callee: FunctionInfo | ClassInfo | None) -> FunctionInfo | None:
    """The function that a call of ``callee`` runs."""
    if isinstance(callee, ClassInfo):
        line = (cls.methods.get("__init__") for cls in ledger.lineage(callee))
        return next((method for method in line if method is not None), None)
    return callee


def dropped_parameter(function: FunctionInfo) -> ast.arg | None:
    """The only alpha that a function is given, if it does no more with it than hand it to itself."""
    alphas = [item for item in _parameters(function) if role_of(item.arg, True) == ALPHA]
    if len(alphas) != 1 or any(map(has_star, ast.walk(function.node))):
        return None
    name = alphas[0].arg
    handed: set[ast.AST] = set()
    for node in ast.walk(function.node):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function.name:
            at = function.parameters.index(name)
            handed.update(node.args[at : at + 1])
            handed.update(keyword.value for keyword in node.keywords if keyword.arg == name)
    used = any(
        isinstance(node, ast.Name) and node.id == name and node not in handed
        for node in ast.walk(function.node)
    )
    return None if used else alphas[0]


def is_made_with(ledger: Ledger, left: LeftAlpha) -> bool:
    """Does the caller construct an object, give back what it makes, or pass its own rank?"""
    own = {name for name in left.caller.parameters if role_of(name, True) == RANK}
    passed = (option.value for _, value, _ in left.ranks() for option in options(value))
    return (
        left.caller.name == "__init__"
        or any(isinstance(value, Place) and value.path in own for value in passed)
        or any(
            given.value == left.use.result and given.value != NONE
            for given in ledger.returns
            if given.spot.function is left.caller and not given.spot.chain
        )
    )


def is_read(ledger: Ledger, left: LeftAlpha, field: str) -> bool:
    """Does a method that the made object really has read the field?"""
    owner = left.caller.owner or left.target.owner
    seen: set[str] = set()
    for cls in ledger.lineage(owner) if owner is not None else ():
        for name, method in cls.methods.items():
            if name in seen or method in (left.caller, left.target):
                continue
            loads = (n for n in ast.walk(method.node) if isinstance(n, ast.Attribute) and n.attr == field)
            if any(isinstance(node.ctx, ast.Load) for node in loads):
                return True
        seen |= cls.methods.keys()
    return False


def written_after(ledger: Ledger, left: LeftAlpha, field: str) -> bool:
    """Does the caller set the field again behind the call?"""
    return any(
        store.field == field and store.spot.function is left.caller and store.spot.row > left.use.spot.row
        for store in ledger.stores
        if not store.spot.chain
    )


def overwritten(ledger: Ledger, left: LeftAlpha) -> Iterator[tuple[Store, Store]]:
    """Alphas that the constructor stored and that the call replaces: where it was stored, and where."""
    step = f"{left.use.spot.file.filename}:{left.use.spot.row}"
    line = ledger.lineage(left.caller.owner) if left.caller.owner is not None else []
    for store in ledger.stores:
        if store.spot.function is not left.target or store.spot.chain != (step,):
            continue
        for first in ledger.stores:
            function = first.spot.function
            if function is None or function.name != "__init__" or function.owner not in line:
                continue
            given = [name for name in function.parameters if role_of(name, True) == ALPHA]
            kept = [name for name in given if first.field == store.field and mentions(first.value, name)]
            if kept and not any(mentions(store.value, name) for name in kept):
                yield first, store
                break


def gives_own_rank(left: LeftAlpha) -> bool:
    """Is the call one on the caller's own object, with the rank that this keeps?"""
    call = left.use.spot.node
    own = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    if not own or left.target.owner is None or getattr(call.func.value, "id", "") != "self":  # type: ignore[attr-defined]
        return False
    places = [argument.node for _, _, argument in left.ranks() if argument is not None]
    return any(
        isinstance(node, ast.Attribute)
        and getattr(node.value, "id", "") == "self"
        and role_of(node.attr, True) == RANK
        for node in places
    )


def stands_in(value: Value) -> bool:
    """Is it the rank, in the place of an alpha?"""
    known = [number(option.value) for option in options(value)]
    roles = [{symbol.role for symbol, _ in item.scale.powers} for item in known if item is not None]
    return bool(roles) and all(found <= {ALPHA, RANK} for found in roles)


def mentions(value: Value, parameter: str) -> bool:
    """Is the number that a parameter gave in ``value``?"""
    found = (number(option.value) for option in options(value))
    origins = {symbol.origin for item in found if item is not None for symbol, _ in item.scale.powers}
    return parameter in {origin.partition("=")[0] for origin in origins}


def default_of(function: FunctionInfo, parameter: str) -> ast.Constant | None:
    """The literal that a parameter is by default."""
    given = function.node.args
    plain = [*given.posonlyargs, *given.args]
    both = [*zip(plain[::-1], given.defaults[::-1], strict=False)]
    both += [
        (arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default
    ]
    found = next((default for arg, default in both if arg.arg == parameter), None)
    return found if isinstance(found, ast.Constant) else None


def _parameters(function: FunctionInfo) -> list[ast.arg]:
    given = function.node.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def _names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


# ---- what others of the project are told ------------------------------------------------------


@immutable(frozen=True, slots=True, eq=False)
class Told:
    """Another call that makes the same kind of layer, and is given what this one leaves out."""

    use: Use
    argument: Spot


def told_by_configuration(ledger: Ledger, left: LeftAlpha) -> tuple[Told, str, Spot] | None:
    """The call of a related class that is given the alpha of the configuration whose rank this call takes.

    With it come the configuration as the caller writes it, and the argument for the rank.
    """
    if any(role_of(name, True) in NUMBERS - {RANK} for name in _words(left.caller)):
        return None
    for _, value, argument in left.ranks():
        config, rank = _configuration_in(value), argument or left.use.spot
        if config is None:
            continue
        for use in ledger.uses:
            made = constructor(ledger, use.callee)
            if made is None or use.spot.chain or made.file is not left.target.file or use.spot.file.is_test:
                continue
            if not _related(ledger, made, left.target):
                continue
            for name in use.given:
                told = argument_of(use, name) if role_of(name, True) == ALPHA else None
                if told is not None and _configuration(told.node, ALPHA) == config:
                    return Told(use, told), config, rank
    return None


def _words(function: FunctionInfo) -> set[str]:
    attributes = {node.attr for node in ast.walk(function.node) if isinstance(node, ast.Attribute)}
    return attributes | _names(function.node) | set(function.parameters)


def _configuration_in(value: Value) -> str | None:
    """``config`` where ``config.r`` is given, which nobody computed."""
    found = [option.value.path for option in options(value) if isinstance(option.value, Place)]
    config, dot, name = found[0].rpartition(".") if len(found) == 1 else ("", "", "")
    return config if dot and role_of(name, True) == RANK else None


def _configuration(node: ast.AST, role: str) -> str | None:
    """``config`` of ``config.lora_alpha``."""
    match node:
        case ast.Attribute(value=ast.Name() | ast.Attribute(value=ast.Name()) as base, attr=name):
            return ast.unparse(base) if role_of(name, True) == role else None
        case _:
            return None


def _related(ledger: Ledger, first: FunctionInfo, second: FunctionInfo) -> bool:
    """Are both constructors of one class, or of classes that have a base in common?"""
    if first.owner is None or second.owner is None:
        return first is second
    return not set(ledger.lineage(first.owner)).isdisjoint(ledger.lineage(second.owner))


def told_by_keywords(ledger: Ledger, use: Use) -> Use | None:
    """Another call of the same callable that is given a computed rank and a computed alpha or scale."""
    for other in ledger.uses:
        if other.name != use.name or not isinstance(other.spot.node, ast.Call) or other.spot.file.is_test:
            continue
        computed = {
            k.arg for k in other.spot.node.keywords if k.arg and not isinstance(k.value, ast.Constant)
        }
        roles = {role_of(name, True) for name in computed}
        if RANK in roles and roles & (NUMBERS - {RANK}):
            return other
    return None
