"""The interface of conventions, and what most of them share: alpha as a tensor beside the factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

from lorascale_lint.adapters.factors import CARRIERS, Factors, Spelling
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource, as_number
from lorascale_lint.knowledge.conventions import METADATA_ALPHA, convention_named


class Format(ABC):
    """One way to write an adapter file."""

    name: str  # of its entry in `knowledge.conventions`
    # Ends of names that belong to the convention and have nothing to do with scales.
    besides: ClassVar[tuple[str, ...]] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        return convention_named(self.name).title

    @property
    def transposed(self) -> bool:
        """Whether A lies as in x rank and B as rank x out."""
        return convention_named(self.name).transposed

    @abstractmethod
    def recognise(self, source: AdapterSource) -> str | None:
        """Why a file is of this convention; None if it is not."""

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        """What the file says of the scale of one module."""
        return tensor_stated(factors) or metadata_stated(source) or Stated()


def tensor_stated(factors: Factors) -> Stated | None:
    """The alpha, or the scale, that lies as a tensor beside the factors."""
    for role in ("alpha_scale", "alpha", "lora_alpha"):
        value = factors.number(role)
        if value is not None:
            if role == "alpha_scale":
                return Stated(AlphaSource.TENSOR, role, scale=value)
            return Stated(AlphaSource.TENSOR, role, value)
    return None


def metadata_stated(source: AdapterSource) -> Stated | None:
    """One alpha for the file in its metadata."""
    for key in METADATA_ALPHA:
        value = as_number(source.metadata.get(key))
        if value is not None:
            return Stated(AlphaSource.METADATA, key, value)
    return None


def spelled(source: AdapterSource, *spellings: Spelling) -> str | None:
    """The first factor in one of these spellings."""
    for factors in source.modules.values():
        if factors.spelling in spellings and (key := factors.keys.get("down") or factors.keys.get("up")):
            return key
    return None


def beginning(source: AdapterSource, prefixes: Collection[str]) -> str | None:
    """A factor of the first module whose name begins with one of these."""
    wanted = tuple(prefixes)
    for factors in source.modules.values():
        carriers = sorted(CARRIERS & factors.keys.keys())
        if carriers and factors.name.startswith(wanted):
            return factors.keys[carriers[0]]
    return None


def having(source: AdapterSource, *roles: str) -> str | None:
    """The first tensor in one of these roles."""
    for factors in source.modules.values():
        for role in roles:
            if role in factors.keys:
                return factors.keys[role]
    return None
