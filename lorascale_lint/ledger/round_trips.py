"""What one function of a project writes and another reads again: tables and containers, by their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import LOGS
from lorascale_lint.knowledge.interfaces import READS_SETTINGS
from lorascale_lint.knowledge.roles import RANK, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Use, has_star
from lorascale_lint.ledger.key_traffic import READS
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import number_origins
from lorascale_lint.ledger.tables import Table, is_written, key_role_of, tables
from lorascale_lint.provenance.values import Place, Text, Tup, Value, options

_SAVED = frozenset({*(f"{name}()" for name in READS_SETTINGS), "metadata()"})


@immutable(frozen=True, slots=True, eq=False)
class Trip:
    """``look`` reads from ``container`` what was written into ``tables``: files of the same keys."""

    tables: tuple[Table, ...]
    container: str
    look: Look
    reads: tuple[KeyRead, ...]
    written: frozenset[str]
    """The ends of all keys that any table of the project has."""

    def reads_of(self, *roles: str) -> list[KeyRead]:
        """Entries of these roles that are taken out, or asked for."""
        return [read for read in self.reads if key_role_of(read.key) in roles]

    def writes_of(self, *roles: str) -> list[KeyWrite]:
        """Entries of these roles that were put in."""
        return [w for table in self.tables for w in table.writes if key_role_of(w.key) in roles]

    def holds(self, value: Value) -> bool:
        """Is it made of what stands in the container, whatever the way?"""
        return any(origin.startswith(f"{self.container}[") for origin in number_origins(value))

    def made_of_it(self) -> Iterator[Use]:
        """Calls of the project that get the rank of the container, or two of its tensors; nearest first."""
        for use in sorted(self.look.uses, key=lambda use: len(use.spot.chain)):
            if use.callee is None or use.name.endswith(".__init__"):
                continue
            ranks = [value for name, value in use.given.items() if role_of(name, True) == RANK]
            if any(map(self.holds, ranks)) or self._keeps_tensors(use):
                yield use

    def _keeps_tensors(self, use: Use) -> bool:
        """Does a call get two entries of the container that are no numbers, and put them into something?"""
        step = f"{use.spot.file.filename}:{use.spot.row}"
        given = {path for value in use.given.values() for path in self._parts(value)}
        inside = [entry.value for entry in self.look.writes if step in entry.spot.chain]
        inside += [entry.value for entry in self.look.stores if step in entry.spot.chain]
        return len(given) > 1 and given <= {path for value in inside for path in self._parts(value)}

    def _parts(self, value: Value) -> Iterator[str]:
        """The entries of the container, by path, that a value is."""
        for option in options(value):
            path = option.value.path if isinstance(option.value, Place) else ""
            if path.startswith(f"{self.container}["):
                yield path


def tail_of(key: Value) -> str:
    """The end of a key, which is the same for every module: all of ``rank``, ``.alpha`` of others."""
    last = key.parts[-1] if isinstance(key, Text) and key.parts else ""
    return last if isinstance(last, str) else ""


def round_trips(ledger: Ledger) -> list[Trip]:
    """Every pair, by the function that reads; what a function gives back is read by its callers too.

    Two keys that one side writes and the other reads make a pair: ``rank`` alone may be of anything.
    """
    return ledger.once(_round_trips)


def _round_trips(ledger: Ledger) -> list[Trip]:
    written = [table for table in tables(ledger) if len(_tails(table)) > 1 and not _is_test(table)]
    written = [table for table in written if is_written(ledger, table)]
    everything = {tail for table in tables(ledger) for tail in _tails(table)} if written else set()
    found: list[Trip] = []
    for look in looks(ledger, callees=True) if written else ():
        read: dict[str, list[KeyRead]] = defaultdict(list)
        for entry in look.reads:
            container = entry.container
            if isinstance(container, Place) and is_saved_path(container.path):
                read[container.path].append(entry)
        for path, entries in read.items():
            taken = {tail_of(e.key) for e in entries if e.how in READS} - {""}
            sure = {tail_of(e.key) for e in entries if e.how in ("item", "pop")} - {""}
            if len(taken) < 2 or not sure <= everything or is_taken_whole(look, path):
                continue
            pairs = [table for table in written if len(_tails(table) & taken) > 1]
            if pairs:
                found.append(Trip(tuple(pairs), path, look, tuple(entries), frozenset(everything)))
    return found


def _is_test(table: Table) -> bool:
    return table.writes[0].spot.file.is_test


def _tails(table: Table) -> set[str]:
    return {tail_of(write.key) for write in table.writes} - {""}


def is_saved_path(path: str) -> bool:
    """Is a path one into a file: its tensors, its metadata, its settings?"""
    root = path.partition("[")[0]
    return root in _SAVED or root.startswith("file(")


def is_taken_whole(look: Look, path: str) -> bool:
    """Does what is not in sight get everything that stands in a container, or is it given back?"""
    if any(_is(given.value, path) for given in look.returns if given.spot.function is look.function):
        return True
    kept = [entry.value for entry in look.stores] + [entry.value for entry in look.writes]
    if any(_is_any_of(value, path) for value in kept):
        return True
    return any(
        (use.callee is None and use.called not in LOGS and any(_is(v, path) for v in use.given.values()))
        or (use.hidden and has_star(use.spot.node))  # `Config(**settings)`
        for use in look.uses
    )


def _is_any_of(value: Value, path: str) -> bool:
    """Is it whatever stands there, under a key that is not known: ``for key, value in settings.items()``?"""
    paths = [option.value.path for option in options(value) if isinstance(option.value, Place)]
    return any(one.startswith(f"{path}[{{") and one.endswith("}]") for one in paths)


def _is(value: Value, path: str) -> bool:
    held = [option.value for option in options(value)]
    return any(
        (isinstance(one, Place) and one.path == path)
        or (isinstance(one, Tup) and any(_is(item, path) for item in one.items))
        for one in held
    )
