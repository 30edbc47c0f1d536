"""Factors that a loader looks up in a dictionary and hands to a setter: from where, and under which keys."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import A, B, key_role
from lorascale_lint.ledger.entries import KeyRead, Trial, Use
from lorascale_lint.ledger.factor_setters import Setter
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import Hole, Place, Ref, Text, Value, options
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True, eq=False)
class FactorPlace:
    """``container[stem + suffix]``: where a loader looks up the factor A of a layer."""

    read: KeyRead
    container: ast.expr
    stem: str
    suffix: str

    def holds_file(self, ledger: Ledger) -> bool:
        """Is every entry of the file in the dictionary, alphas beside factors and with their own suffix?"""
        function = self.read.spot.function
        if function is None:
            return False
        if all(isinstance(option.value, Ref) for option in options(self.read.container)):
            if isinstance(self.container, ast.Name):
                return any(_keeps_alpha(trial, self) for trial in ledger.trials if trial.function is function)
            return _is_filled_unseen(ledger, self.read)
        return _is_given(ledger, function, self.container)


@immutable(frozen=True, slots=True, eq=False)
class Handed:
    """A call of a setter by a function that reads both factors by key."""

    use: Use
    place: FactorPlace | None
    opened: Spot | None
    """Where the function opens the file."""


def handed_factors(ledger: Ledger, setter: Setter) -> Iterator[Handed]:
    """Calls of ``setter`` in loaders, each once."""
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        spot = use.spot
        if use.callee is not setter.function or spot.chain or spot.node in seen or spot.file.is_test:
            continue
        reads = [r for r in ledger.reads if r.spot.function is spot.function and not r.spot.chain]
        if not isinstance(spot.node, ast.Call) or not {A, B} <= {key_role_of(r.key) for r in reads}:
            continue
        seen.add(spot.node)
        opened = (u.spot for u in ledger.uses if u.spot.function is spot.function and _opens(u))
        yield Handed(use, _place(use, setter, reads), next(opened, None))


def _opens(use: Use) -> bool:
    return not use.spot.chain and any(_is_file(option.value) for option in options(use.result))


def _is_file(value: Value) -> bool:
    return isinstance(value, Place) and value.made == "state dict" and value.path.startswith("file(")


def _place(use: Use, setter: Setter, reads: list[KeyRead]) -> FactorPlace | None:
    given = use.given.get(setter.parameter(A) or "")
    for read in reads:
        if read.how not in ("item", "get") or key_role_of(read.key) != A or given is None:
            continue
        same = set(origins(read.value)) & set(origins(given))  # a local's name may have given it a role
        node = read.spot.node
        match node:
            case ast.Subscript(value=container, slice=key):
                pass
            case ast.Call(func=ast.Attribute(value=container), args=[key, *_]):
                pass
            case _:
                continue
        stem = _stem(key, use.spot.function)
        if same and stem is not None:
            return FactorPlace(read, container, *stem)
    return None


def _stem(key: ast.expr, function: FunctionInfo | None) -> tuple[str, str] | None:
    """The layer's name and the literal suffix of a key ``name + ".lora_A"``, also by way of a local."""
    if isinstance(key, ast.Name) and function is not None:
        bound = [
            item.value
            for item in ast.walk(function.node)
            if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == key.id
        ]
        key = bound[0] if len(bound) == 1 else key
    match key:
        case ast.BinOp(left=ast.Name(id=name), op=ast.Add(), right=ast.Constant(value=str() as suffix)):
            return name, suffix
        case ast.JoinedStr(
            values=[ast.FormattedValue(value=ast.Name(id=name)), ast.Constant(value=str() as suffix)]
        ):
            return name, suffix
        case _:
            return None


def _is_given(ledger: Ledger, function: FunctionInfo, container: ast.expr) -> bool:
    """Is the dictionary a parameter for which no caller in sight gives one that the project filled?"""
    name = getattr(container, "id", "")
    given = [use.given[name] for use in calls_of(ledger, function) if name in use.given]
    return name in function.parameters and not any(
        isinstance(option.value, Ref) for value in given for option in options(value)
    )


def _is_filled_unseen(ledger: Ledger, read: KeyRead) -> bool:
    """Is the dictionary of an object filled with all tensors of the file, under names nobody can tell?"""
    kept = {option.value for option in options(read.container)}  # emptied on one path, as it was on another
    return any(
        not kept.isdisjoint(option.value for option in options(write.container))
        and write.spot.function is read.spot.function
        and not _has_letters(write.key)
        and any(_comes_from_file(option.value) for option in options(write.value))
        and not _asks_for_factor(write.guards)
        for write in ledger.writes
    )


def _has_letters(key: Value) -> bool:
    return isinstance(key, Text) and not all(isinstance(part, Hole) for part in key.parts)


def _comes_from_file(value: Value) -> bool:
    path = getattr(value, "path", "") or getattr(value, "origin", "")
    return str(path).startswith("file(")


def _asks_for_factor(guards: Guards) -> bool:
    """Do the conditions let none but the keys of factors through?"""
    for name, holds in guards:
        try:
            test = ast.parse(name.partition("@")[0], mode="eval")
        except SyntaxError:
            continue
        texts = [node.value for node in ast.walk(test) if isinstance(node, ast.Constant)]
        if holds and any(isinstance(text, str) and key_role(text) in (A, B) for text in texts):
            return True
    return False


def _keeps_alpha(trial: Trial, place: FactorPlace) -> bool:
    """Does the loader, tried on a file, hold alpha under the name of its layer with its own suffix?"""
    node = place.read.spot.node
    containers = {r.container for r in trial.ledger.reads if r.spot.node is node}
    removed = any(r.container in containers for r in trial.ledger.reads if r.how in ("del", "pop"))
    down, alpha = (trial.tensors[key] for key in (trial.sample.down, trial.sample.alpha_key))
    for container in containers:
        pairs = trial.held.get(container.key, ()) if isinstance(container, Ref) else ()
        held = {key.literal: value for key, value in pairs if isinstance(key, Text) and key.literal}
        names = [name for name, value in held.items() if _is(value, down) and name.endswith(place.suffix)]
        stems = {name.removesuffix(place.suffix) for name in names}
        if trial.whole and not removed and len(stems) == 1:
            return _is(held.get(f"{stems.pop()}.{trial.sample.alpha}"), alpha)
    return False


def _is(value: Value | None, tensor: Value) -> bool:
    return value is not None and all(option.value == tensor for option in options(value))
