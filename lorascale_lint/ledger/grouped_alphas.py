"""Converters that sort what a file holds into groups by module, alphas too."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, SCALING, A, B
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_plain_factor, key_role_of
from lorascale_lint.provenance.values import Place, Ref, Tensor, Text, Tup, Value, options


def forgotten_alphas(ledger: Ledger) -> Iterator[tuple[Spot, Spot]]:
    """Where alphas are put under a key that is never read, and where the factors beside them go on."""
    for look in looks(ledger):
        stored = [write for write in look.writes if _is_grouped_alpha(write)]
        if not stored or _alpha_is_read(look):
            continue
        groups = {write.container.key for write in stored if isinstance(write.container, Ref)}
        handed = None if _escapes(look, groups) else _handed_on(look, groups)
        if handed is not None:
            yield stored[0].spot, handed


def _alpha_is_read(look: Look) -> bool:
    return any(key_role_of(read.key) in (ALPHA, SCALING) for read in look.reads)


def _escapes(look: Look, groups: set[int]) -> bool:
    """Is a group, or a dictionary that holds it, seen by others?"""
    holders = {
        read.container.key
        for read in look.reads
        if isinstance(read.container, Ref)
        and any(isinstance(o.value, Ref) and o.value.key in groups for o in options(read.value))
    }
    # What is read as one group may stand for several that were filled under names cut out of keys.
    holders |= {
        read.container.key
        for read in look.reads
        if isinstance(read.container, Ref) and any(_is_factor(o.value) for o in options(read.value))
    }
    watched = groups | holders
    for _ in range(2):
        watched |= {
            write.container.key
            for write in look.writes
            if isinstance(write.container, Ref)
            and isinstance(write.value, Ref)
            and write.value.key in watched
        }
    given = [value for use in look.uses for value in use.given.values()]
    given += [entry.value for entry in look.returns] + [entry.value for entry in look.stores]
    return any(_holds(value, watched) for value in given)


def _is_factor(value: Value) -> bool:
    return (isinstance(value, Place) and value.role in (A, B)) or (
        isinstance(value, Tensor) and value.kind in (A, B)
    )


def _handed_on(look: Look, groups: set[int]) -> Spot | None:
    """Where factors are written into a dictionary that is none of the groups; None unless both are."""
    for container in dict.fromkeys(write.container for write in look.writes):
        if isinstance(container, Ref) and container.key in groups:
            continue
        own = [write for write in look.writes if write.container == container]
        if any(_ends_open(write.key) for write in own):
            continue  # `f"{name}.{part}"`: anything may have been written
        roles = {key_role_of(write.key) for write in own}
        factors = [write for write in own if key_role_of(write.key) in (A, B)]
        plain = all(is_plain_factor(write.value) and not _is_bare(write) for write in factors)
        if {A, B} <= roles and not roles & {ALPHA, SCALING} and plain:
            return factors[0].spot
    return None


def _is_bare(write: KeyWrite) -> bool:
    """Is the key only the role, as in a group, and no name of a tensor?"""
    literal = getattr(write.key, "literal", None)
    return literal is not None


def _ends_open(key: Value) -> bool:
    return not isinstance(key, Text) or not key.parts or not isinstance(key.parts[-1], str)


def _is_grouped_alpha(write: KeyWrite) -> bool:
    """``group["alpha"] = tensor`` of a file."""
    literal = getattr(write.key, "literal", None)
    return (
        literal is not None
        and isinstance(write.container, Ref)
        and "alpha" in literal
        and key_role_of(write.key) in (ALPHA, SCALING)
        and any(
            isinstance(option.value, Place) and "[" in option.value.path for option in options(write.value)
        )
    )


def _holds(value: Value, watched: set[int]) -> bool:
    for option in options(value):
        found = option.value
        if isinstance(found, Ref) and found.key in watched:
            return True
        if isinstance(found, Tup) and any(_holds(item, watched) for item in found.items):
            return True
    return False
