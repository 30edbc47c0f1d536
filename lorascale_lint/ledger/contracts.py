"""Configurations of PEFT adapters that code reads: where their alpha and rank meet, who knows rsLoRA."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property

from lorascale_lint.bounds import CALLS_OF_A_NAME
from lorascale_lint.knowledge.interfaces import (
    ADAPTER_FIELDS,
    ADAPTER_FILES,
    ALPHA_FIELD,
    ASKS_FOR_ANY,
    CONFIGURATION_CLASSES,
    CONFIGURATIONS,
    FETCHES_ADAPTERS,
    FILE_ALPHAS,
    OF_MODELS,
    PARAMETERS,
    PEFT_ALONE,
    RANK_FIELD,
    RANKS_FIELD,
    READS_SETTINGS,
)
from lorascale_lint.knowledge.kinds import names_alphas, speaks_of_patterns, speaks_of_rslora
from lorascale_lint.knowledge.members import CONTAINER_TYPES
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Quotient, Use, named_arguments
from lorascale_lint.ledger.kept_together import kept_together
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.meetings import Meeting
from lorascale_lint.ledger.numbers import number_origins, quotient_scales, symbol_of
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.surroundings import Surroundings, around, scope_of
from lorascale_lint.ledger.tables import key_role_of, literal_of
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.values import Const, Place, Text, Tup, Value, options

_FIELDS = {ALPHA: ALPHA_FIELD, RANK: RANK_FIELD}


class Contracts:
    """The configurations that a project reads."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.surroundings = Surroundings(ledger)
        self.reads_of: dict[str, list[KeyRead]] = defaultdict(list)
        """Readings of fields by the path of what they are read from."""
        for read in (*ledger.reads, *ledger.parts):
            for option in options(read.container):
                if isinstance(option.value, Place) and read.how != "del":
                    self.reads_of[option.value.path].append(read)

    @cached_property
    def meetings(self) -> tuple[Meeting, ...]:
        """Places that get alpha and rank of one configuration, the divisions first, or write its alpha."""
        return tuple(self._meetings())

    def _meetings(self) -> Iterator[Meeting]:
        for quotient in self.ledger.quotients:
            if not quotient.spot.file.is_test:
                yield from self._divided(quotient)
        for use in self.ledger.uses:
            if not use.spot.file.is_test:
                yield from self._given(use)
        for write in self.ledger.writes:
            if not write.spot.file.is_test and is_of_a_file(write):
                yield from self._written(write)
        for alpha, rank, spot, told in kept_together(self.ledger):
            yield from self._pair(alpha, rank, spot, told)

    def loaded(self, meeting: Meeting) -> Spot | None:
        """Where the configuration comes from, if that is the file of an adapter; else None."""
        root = meeting.path.partition("[")[0]
        made = self._made(root, meeting)
        if len({use.spot.node for use in made if use.spot.function is made[0].spot.function}) > 1:
            return None  # two configurations of one name: which one is read here?
        for use in made:
            owner, _, last = use.name.rpartition(".")
            if owner.rpartition(".")[2] in CONFIGURATION_CLASSES and last.startswith("from_"):
                return use.spot
            if last in READS_SETTINGS and self._is_adapters(meeting, use.spot):
                return use.spot
        if made or meeting.told in CONFIGURATION_CLASSES:
            return None  # settings of a trainer have the same fields
        return self._declared(meeting)

    def built_with(self, meeting: Meeting, speaks: Callable[[str], bool]) -> Spot | None:
        """Where the project gives a part to the configuration that its model keeps, and that is read here."""
        if OF_MODELS not in meeting.path:
            return None
        for use in self.ledger.uses:
            if use.called in CONFIGURATION_CLASSES and not use.spot.file.is_test:
                given = [o.value for n, v in use.given.items() if speaks(n) for o in options(v)]
                if any(isinstance(v, Place) or v == Const(True) for v in given):
                    return use.spot
        return None

    def takes_any_adapter(self, meeting: Meeting, origin: Spot) -> bool:
        """Is it a reader of adapters as PEFT writes them, and not only of two fields of one trainer's?"""
        text = "".join(map(around, (*meeting.spots, origin)))
        return (
            any(word in text for word in FETCHES_ADAPTERS)
            or not ASKS_FOR_ANY.isdisjoint(self._keys(meeting))
            or any(map(self.surroundings.looks_factors_up, (*meeting.spots, origin)))
        )

    def stands_by_factors(self, meeting: Meeting) -> bool:
        """Does another function of the same file look the factors up, which gets the scale somehow?"""
        return any(map(self.surroundings.stands_by_factors, meeting.spots))

    @cached_property
    def half_read(self) -> tuple[tuple[KeyRead, KeyRead], ...]:
        """Readings of ``lora_alpha`` and ``rank_pattern`` of a loaded configuration.

        Nothing asks for the alphas of single modules.
        """
        found = []
        for path, reads in self.reads_of.items():
            fields = {literal_of(read.key): read for read in reversed(reads) if not read.spot.file.is_test}
            alpha, ranks = fields.get(ALPHA_FIELD), fields.get(RANKS_FIELD)
            if alpha is None or ranks is None or alpha.spot.file is not ranks.spot.file:
                continue
            loaded = self.loaded(Meeting(path, alpha, ranks, alpha.spot))
            if loaded and not self.surroundings.know_of(names_alphas, (loaded, alpha.spot, ranks.spot)):
                found.append((alpha, ranks))
        return tuple(found)

    def knows_flag(self, meeting: Meeting, origin: Spot) -> bool:
        """Is rsLoRA asked for, given or kept in a file that may stand before or behind the meeting?"""
        return self.surroundings.know_of(speaks_of_rslora, (*meeting.spots, origin))

    def knows_patterns(self, meeting: Meeting, origin: Spot) -> bool:
        """Are the alphas and ranks of single modules?"""
        return self.surroundings.know_of(speaks_of_patterns, (*meeting.spots, origin))

    def reads_patterns(self, meeting: Meeting) -> bool:
        """Does the function that uses the alpha look the patterns up, or anything of the kind?"""
        function = meeting.spot.function
        reads = (*self.ledger.reads, *self.ledger.parts)
        return any(r.spot.function is function and speaks_of_patterns(literal_of(r.key)) for r in reads)

    def is_apart(self, meeting: Meeting, origin: Spot) -> bool:
        """Does one function load the configuration and divide, beside another one that divides by the root?

        Neither it, nor its class, nor what calls it or is called by it has the flag.
        """
        functions = {spot.function for spot in (*meeting.spots, origin)}
        function = next(iter(functions))
        if len(functions) != 1 or function is None:
            return False
        roots = {item.spot.function for item in self.ledger.quotients if _by_root(item)}
        if not any(item is not None and item.file is function.file for item in roots):
            return False
        beside = [use.spot for use in self.ledger.uses if use.callee is function]
        called = {use.callee for use in self.ledger.uses if use.spot.function is function}
        texts = [*map(around, (*meeting.spots, *beside))]
        texts += [item.file.text(item.node) for item in called if isinstance(item, FunctionInfo | ClassInfo)]
        return not any(map(speaks_of_rslora, texts))

    @cached_property
    def trains_without_flag(self) -> bool:
        """Does the project make adapters itself, and none with rsLoRA?"""
        made = [
            use
            for use in self.ledger.uses
            if use.called in CONFIGURATION_CLASSES and not use.spot.file.is_test
        ]
        return bool(made) and not any(speaks_of_rslora(name) for use in made for name in use.given)

    # ---- meetings -----------------------------------------------------------------------

    def _divided(self, quotient: Quotient) -> Iterator[Meeting]:
        for scale, _ in quotient_scales(quotient):
            above = [s.origin for s, power in scale.powers if s.role == ALPHA and power == 1]
            below = [s.origin for s, power in scale.powers if s.role == RANK and power == -1]
            if len(above) == len(below) == 1:
                yield from self._pair(above[0], below[0], quotient.spot)

    def _given(self, use: Use) -> Iterator[Meeting]:
        """Both numbers given to code out of sight by their names, or to a project's class of settings."""
        given = named_arguments(use)
        roles = {role: value for name, value in given.items() if (role := role_of(name, True)) in _FIELDS}
        if len(roles) < 2:
            return
        if use.callee is None and self._may_know_more(use):
            return
        if use.callee is not None and not self._is_told_all(use.callee):
            return
        flagged = any(map(speaks_of_rslora, given))
        for alpha in number_origins(roles[ALPHA]):
            for rank in number_origins(roles[RANK]):
                yield from self._pair(alpha, rank, use.spot, use.called, flagged)

    def _written(self, write: KeyWrite) -> Iterator[Meeting]:
        """The alpha of a configuration that becomes one of a file, as it is."""
        for alpha in filter(None, (symbol_of(option.value) for option in options(write.value))):
            path = owner_of(alpha.origin)
            read = self._read(path, alpha.origin, write.spot) if path else None
            if read is not None and literal_of(read.key) == ALPHA_FIELD:
                yield Meeting(path, read, None, write.spot)

    def _pair(
        self, alpha: str, rank: str, spot: Spot, told: str = "", flagged: bool = False
    ) -> Iterator[Meeting]:
        path = owner_of(alpha)
        if not path or path != owner_of(rank):
            return
        above, below = self._read(path, alpha, spot), self._read(path, rank, spot)
        if above is None or below is None:
            return
        if (literal_of(above.key), literal_of(below.key)) != (ALPHA_FIELD, RANK_FIELD):
            return
        yield Meeting(path, above, below, spot, told, flagged)

    def _read(self, path: str, origin: str, spot: Spot) -> KeyRead | None:
        found = [
            read
            for read in self.reads_of[path]
            if any(isinstance(o.value, Place) and o.value.path == origin for o in options(read.value))
            and (read.spot.file is spot.file or spot.chain or read.spot.chain)
        ]
        near = [read for read in found if read.spot.function is spot.function]
        return next(iter((*near, *found)), None)

    def _may_know_more(self, use: Use) -> bool:
        """Does a call out of sight get more than the numbers, or the whole configuration go on beside it?"""
        if use.hidden:
            return True
        if use.called in CONFIGURATION_CLASSES | PARAMETERS.keys():
            return False  # what peft makes of them is known
        if not self.surroundings.looks_factors_up(use.spot):
            return True
        paths = {owner_of(origin) for value in use.given.values() for origin in number_origins(value)}
        return not paths.isdisjoint(self._going_on[use.spot.function])

    @cached_property
    def _going_on(self) -> dict[FunctionInfo | None, set[str]]:
        """What each function gives to calls out of sight, gives back or stores, by its path."""
        found: dict[FunctionInfo | None, set[str]] = defaultdict(set)
        for use in self.ledger.uses:
            if use.callee is None:
                found[use.spot.function].update(p for value in use.given.values() for p in _paths(value))
        for given in self.ledger.returns:
            found[given.spot.function].update(_paths(given.value))
        for store in self.ledger.stores:
            found[store.spot.function].update(_paths(store.value))
        return found

    def _is_told_all(self, callee: FunctionInfo | ClassInfo) -> bool:
        """Does the callee only get what it is told: it makes an adapter, or its fields are divided?"""
        if isinstance(callee, ClassInfo):
            if any(speaks_of_rslora(name) for name in callee.attributes):
                return False
            if "__init__" not in callee.methods:
                names = set(callee.attributes)
                return any(
                    names >= {s.origin.rpartition(".")[2] for s, _ in scale.powers}
                    for item in self.ledger.quotients
                    for scale, _ in quotient_scales(item)
                )
            callee = callee.methods["__init__"]
        known = self.surroundings.sides[scope_of(callee)]
        return not any(map(speaks_of_rslora, callee.parameters)) and known >= FACTORS

    # ---- where a configuration comes from -------------------------------------------------

    @cached_property
    def _results(self) -> dict[tuple[str, str], list[Use]]:
        """Calls out of sight by the path of what they give and the files on the way, a few of each."""
        found: dict[tuple[str, str], list[Use]] = defaultdict(list)
        for use in self.ledger.uses:
            if isinstance(use.result, Place) and use.callee is None:
                for name in _files_of(use.spot):
                    known = found[use.result.path, name]
                    if len(known) < CALLS_OF_A_NAME or known[-1].spot.function is use.spot.function:
                        known.append(use)
        return found

    def _made(self, root: str, meeting: Meeting) -> list[Use]:
        """Calls whose results are called so: those of the functions that read it, else of their files."""
        functions = {spot.function for spot in meeting.spots}
        files = set().union(*(_files_of(spot) for spot in meeting.spots))
        found = [use for name in sorted(files) for use in self._results[root, name]]
        return [use for use in found if use.spot.function in functions] or found

    def _is_adapters(self, meeting: Meeting, load: Spot) -> bool:
        text = (load.file.source + meeting.alpha.spot.file.source).lower()
        return ADAPTER_FILES[0] in text or not PEFT_ALONE.isdisjoint(self._keys(meeting))

    def _declared(self, meeting: Meeting) -> Spot | None:
        """A configuration given from out of sight, known by its annotation, its name or the code beside."""
        name = meeting.path.partition("[")[0].removeprefix("self.")
        function, spot = meeting.alpha.spot.function, meeting.alpha.spot
        if not name.isidentifier() or function is None or self._has_own_class:
            return None
        if not self._keys(meeting) <= ADAPTER_FIELDS or self._is_given_own(function, name):
            return None
        words = re.findall(r"[\w.]+", function.annotation(name))
        owners = {_resolved(spot.file, word) for word in words}
        if any(o.startswith("peft.") and o.rpartition(".")[2] in CONFIGURATION_CLASSES for o in owners):
            return spot if self.surroundings.looks_factors_up(spot) else None
        if not {word.rpartition(".")[2] for word in words} <= CONTAINER_TYPES:
            return None
        if meeting.told in PARAMETERS and not PEFT_ALONE.isdisjoint(self._keys(meeting)):
            return spot
        if name in CONFIGURATIONS and not name.startswith("lora"):
            return spot if self.surroundings.looks_factors_up(spot) else None
        source = spot.file.source
        peft = ADAPTER_FILES[1] in source and "lora_A" in source and "lora_B" in source
        told = "target_modules" in self._keys(meeting) or self.surroundings.looks_factors_up(spot)
        return spot if peft and told else None

    def _is_given_own(self, function: FunctionInfo, name: str) -> bool:
        """Does a caller in sight give a configuration that the project makes?"""
        return any(
            not isinstance(option.value, Place)
            or option.value.path.rpartition(".")[2].removesuffix("()") in CONFIGURATION_CLASSES
            or ".peft_config" in option.value.path
            for use in self._calls[function]
            if name in use.given
            for option in options(use.given[name])
        )

    @cached_property
    def _calls(self) -> dict[object, list[Use]]:
        found: dict[object, list[Use]] = defaultdict(list)
        for use in self.ledger.uses:
            found[use.callee].append(use)
        return found

    @cached_property
    def _has_own_class(self) -> bool:
        """Does the project define the class itself, as forks of old PEFT do that know no rsLoRA?"""
        return any(
            not CONFIGURATION_CLASSES.isdisjoint(file.classes) for file in self.surroundings.files.values()
        )

    def _keys(self, meeting: Meeting) -> set[str]:
        """The fields that are read from the configuration in the files where it is seen."""
        files = {spot.file for spot in meeting.spots}
        return {literal_of(read.key) for read in self.reads_of[meeting.path] if read.spot.file in files}


def _by_root(quotient: Quotient) -> bool:
    """Is an alpha divided by the root of a rank?"""
    return any(
        powers_of(scale).is_trained and powers_of(scale).below == HALF
        for scale, _ in quotient_scales(quotient)
    )


def _files_of(spot: Spot) -> set[str]:
    return {spot.file.filename, *(step.rpartition(":")[0] for step in spot.chain)}


def is_of_a_file(write: KeyWrite) -> bool:
    """Is the entry the alpha of a module or of a whole adapter in a file, whose readers divide it?"""
    if key_role_of(write.key) != ALPHA or not isinstance(write.key, Text):
        return False
    last = write.key.parts[-1] if write.key.parts else ""
    return last.endswith(FILE_ALPHAS) if isinstance(last, str) else True  # made of the key of a factor


def _paths(value: Value) -> Iterator[str]:
    for option in options(value):
        if isinstance(option.value, Place):
            yield option.value.path
        elif isinstance(option.value, Tup):
            for item in option.value.items:
                yield from _paths(item)


def _resolved(file: FileInfo, name: str) -> str:
    head, dot, rest = name.partition(".")
    return file.imports.get(head, head) + dot + rest


__all__ = ["Contracts", "Meeting"]
