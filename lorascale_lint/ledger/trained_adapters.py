"""Code that trains an adapter with an alpha of its own, and saves its factors alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.interfaces import (
    ALPHA_OF_EXPORTS,
    ATTACHES,
    CONFIG_CLASSES,
    FACTOR_GETTERS,
    SAVE_HOOKS,
    SAVES_CONFIGURATION,
    SETTINGS_WORDS,
    TRAINABLE,
    WRAPS,
    WRITES_TENSORS,
    WRITES_TEXT,
)
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.conditions import is_none
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import number_origins, scale_of, symbol_of
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.strengths import given_strengths
from lorascale_lint.ledger.tables import Table, key_role_of, tables, tells_nothing
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.scale import ONE, STAND_IN
from lorascale_lint.provenance.values import NONE, Hole, Place, Ref, Text, Value, options

Group = tuple[str, str]
"""File and class; an empty class for the functions of a script."""


@immutable(frozen=True, slots=True)
class Training:
    """Where the configuration of an adapter is made.

    ``wrapped`` if its user gets a model of peft, ``sometimes`` if alpha is the rank where nobody chooses one.
    """

    spot: Spot
    wrapped: bool
    sometimes: bool


def saved_alone(ledger: Ledger) -> Iterator[tuple[Training, Use]]:
    """What trains, and the call beside it that saves the factors while nothing there tells their alpha."""
    trained = ledger.once(_trainings)
    if not trained:
        return
    groups: dict[Group, list[Look]] = defaultdict(list)
    for look in looks(ledger, callees=True):
        if look.function is not None:
            groups[_group(look.function)].append(look)
    held = tables(ledger)
    selected = [table.container for table in held if _is_selected(table)]
    silent = {t.container.key for t in held if isinstance(t.container, Ref) and tells_nothing(t)}
    factors = {container.key for container in selected if isinstance(container, Ref)}
    cleared = (read.spot.function for read in ledger.reads if read.how == "clear")
    emptied = {function for function in cleared if function is not None and function.name in SAVE_HOOKS}
    used = {given.use.spot.file.filename for given in given_strengths(ledger) if _is_trained(given.value)}
    seen: set[tuple[str, int]] = set()
    for group, training in trained.items():
        near = groups[group]
        if group[0] in used or any(_tells(look, silent, anywhere=False) for look in near):
            continue
        for look in near:
            saves = [use for use in look.uses if _saves(use, factors, emptied)]
            for use in saves if not _tells(look, silent, anywhere=True) else ():
                if (use.spot.file.filename, use.spot.row) not in seen:
                    seen.add((use.spot.file.filename, use.spot.row))
                    yield training, use


def ranks_saved(ledger: Ledger) -> Iterator[tuple[Training, KeyWrite]]:
    """What trains, and the entry for an alpha beside it, in a file, that is given the rank in its place."""
    trained = ledger.once(_trainings)
    seen: set[tuple[str, int]] = set()
    for write in ledger.writes if trained else ():
        function, place = write.spot.function, (write.spot.file.filename, write.spot.row)
        training = trained.get(_group(function)) if function is not None else None
        if training is None or place in seen or key_role_of(write.key) != ALPHA or not _is_open(write.key):
            continue
        if all(_is_rank(option.value) for option in options(write.value)):
            seen.add(place)
            yield training, write


def _is_open(key: Value) -> bool:
    """Is the key one of a file, made of another one, and no name of a setting?"""
    return isinstance(key, Text) and any(isinstance(part, Hole) for part in key.parts)


def _is_rank(value: Value) -> bool:
    """Is it the rank, or an extent of a tensor, and nothing else?"""
    symbol = symbol_of(value)
    return symbol is not None and (symbol.role == RANK or symbol.origin.endswith(".shape"))


def _trainings(ledger: Ledger) -> dict[Group, Training]:
    """Configurations with an alpha that is not the rank, that a model gets."""
    found: dict[Group, Training] = {}
    made: dict[Group, set[str]] = defaultdict(set)
    equated = _set_to_rank(ledger)
    for use in ledger.uses:
        if use.spot.function is None or use.spot.file.is_test:
            continue
        group = _group(use.spot.function)
        apart = _apart(use) if use.called in CONFIG_CLASSES else set()
        ways = {equated[name] for name in _alphas_of(use) if name in equated} if apart else set()
        if True in apart and False not in ways:
            sometimes = False in apart or bool(ways)
            found.setdefault(group, Training(use.spot, wrapped=True, sometimes=sometimes))
        elif use.called in ATTACHES:
            given = {way.value for value in use.given.values() for way in options(value)}
            if any(_is_configuration(value) for value in given):
                made[group].add(use.called)
    for store in ledger.stores:
        if _is_configuration(store.value) and store.spot.function is not None:
            made[_group(store.spot.function)].add(store.field)
    return {g: replace(t, wrapped=made[g] <= WRAPS) for g, t in found.items() if made[g]}


def _set_to_rank(ledger: Ledger) -> dict[str, bool]:
    """Names of settings for alpha that code sets to the rank: only where nobody has chosen one?"""
    found: dict[str, bool] = {}
    for write in ledger.writes:
        name = (write.key.literal or "") if isinstance(write.key, Text) else ""
        if name.isidentifier() and role_of(name, True) == ALPHA and _is_rank(write.value):
            found[name] = found.get(name, True) and is_none(write.guards)
    for store in ledger.stores:
        if role_of(store.field, True) == ALPHA and _is_rank(store.value):
            found[store.field] = found.get(store.field, True) and is_none(store.guards)
    return found


def _alphas_of(use: Use) -> Iterator[str]:
    """The names under which the alphas that are given are kept: ``alpha`` of ``settings['alpha']``."""
    for name, value in use.given.items():
        if role_of(name, True) == ALPHA:
            yield from map(last_of, number_origins(value))


def _is_configuration(value: Value) -> bool:
    return isinstance(value, Place) and value.path.removesuffix("()") in CONFIG_CLASSES


def _apart(use: Use) -> set[bool]:
    """Is the alpha another number than the rank, for each way that is known; nothing if one is not."""
    roles = {role_of(name, True): value for name, value in use.given.items() if not name.isdigit()}
    found: set[bool] = set()
    if ALPHA not in roles or RANK not in roles:
        return found
    for above in options(roles[ALPHA]):
        if above.value == NONE:
            return set()  # nobody in sight gives one
        for below in options(roles[RANK]):
            alpha, rank = scale_of(above.value), scale_of(below.value)
            inverse = None if rank is None else rank.inverse()
            if contradict(above.guards, below.guards):
                continue
            if alpha is None or inverse is None or (alpha * inverse).unknowns():
                return set()
            stands_in = any(symbol.origin.startswith(STAND_IN) for symbol, _ in alpha.powers)
            found.add(not stands_in and alpha * inverse != ONE)
    return found


def _group(function: FunctionInfo) -> Group:
    head = function.qualname.partition(".")[0]
    return (function.file.filename, head if head in function.file.classes else "")


def _saves(use: Use, factors: set[int], emptied: set[FunctionInfo]) -> bool:
    """Does the call write the factors of an adapter, and nothing that tells their alpha?

    What a hook of ``emptied`` puts in the place of a whole checkpoint is written too.
    """
    last = use.called
    if last in ALPHA_OF_EXPORTS:
        return any(_is_factors(value, factors) for name, value in use.given.items() if name != "0")
    first = use.given.get("0", use.given.get("tensors"))
    function = use.spot.function
    if function is not None and function in emptied and last == "update":
        handed = use.name.partition(".")[0] in function.parameters
        return handed and first is not None and _is_factors(first, factors)
    return last in WRITES_TENSORS and first is not None and _is_factors(first, factors)


def _is_factors(value: Value, factors: set[int]) -> bool:
    found = [option.value for option in options(value)]
    return any(
        (isinstance(one, Place) and one.path.removesuffix("()") in FACTOR_GETTERS)
        or (isinstance(one, Ref) and one.key in factors)
        for one in found
    )


def _is_selected(table: Table) -> bool:
    """Are all entries those of LoRA, those that are trained, by a condition, or what a getter gives?"""
    return all(
        _is_of_lora(write.key)
        or any(TRAINABLE in name and holds for name, holds in write.guards)
        or _is_of_getter(write.value)
        for write in table.writes
    )


def _is_of_getter(value: Value) -> bool:
    """Is it one of the factors that a library gives, cast or moved at most?"""
    found = [option.value for option in options(value)]
    return all(isinstance(one, Place) and one.path.partition("()[")[0] in FACTOR_GETTERS for one in found)


def _is_of_lora(key: Value) -> bool:
    holes = [part for part in key.parts if isinstance(part, Hole)] if isinstance(key, Text) else []
    return any(word == TRAINABLE or speaks_of_lora(word) for hole in holes for word in hole.has)


def _tells(look: Look, silent: set[int], anywhere: bool) -> bool:
    """Does the function, with what it calls, write an alpha or hand a configuration on that has one?

    With ``anywhere`` any call may write what it is given; else those that are known to.
    """
    if any(key_role_of(write.key) == ALPHA for write in look.writes):
        return True
    for use in look.uses:
        if use.called in ATTACHES:
            continue  # what trains gets the configuration, no file does
        endings = ALPHA_OF_EXPORTS.get(use.called, ("metadata",))
        given = [value for name, value in use.given.items() if name.endswith(endings)]
        if use.called in SAVES_CONFIGURATION or not all(_is_of(value, silent) for value in given):
            return True
        if use.called in ALPHA_OF_EXPORTS and _is_open_call(use):
            return True
        writes = use.called in WRITES_TEXT | {"write"}
        if (anywhere and use.called in WRITES_TEXT) or (
            (anywhere or writes) and any(_is_settings(value) for value in use.given.values())
        ):
            return True
    return False


def _is_open_call(use: Use) -> bool:
    """Does it get keyword arguments that are written elsewhere: ``**_collate_lora_metadata(modules)``?"""
    node = use.spot.node
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return any(one.arg is None and not isinstance(one.value, ast.Dict) for one in keywords)


def _is_of(value: Value, keys: set[int]) -> bool:
    return all(isinstance(o.value, Ref) and o.value.key in keys for o in options(value))


def _is_settings(value: Value) -> bool:
    """Is this a whole configuration, as it is or as text? Its fields alone say nothing."""
    if isinstance(value, Text):
        return any(isinstance(part, Hole) and _names_settings(str(part.name)) for part in value.parts)
    return isinstance(value, Place) and _names_settings(value.path)


def _names_settings(path: str) -> bool:
    last = words(path.rpartition(".")[2])[-1:]
    return bool(SETTINGS_WORDS.intersection(last)) and not path.endswith("]")


def _is_trained(value: Value) -> bool:
    """alpha / rank, which makes up for what the file lost."""
    scale = scale_of(value)
    return scale is not None and {ALPHA, RANK} <= {symbol.role for symbol, _ in scale.powers}
