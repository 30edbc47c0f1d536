"""The words in which loaders are described: which files, and what is done with them."""

from __future__ import annotations

from enum import StrEnum

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.conventions import Pair
from lorascale_lint.knowledge.kinds import LOW_RANK, Kind


class Statement(StrEnum):
    """A place where a loader looks for alpha. The first four are tensors beside the factors."""

    ALPHA = "alpha"
    LORA_ALPHA = "lora_alpha"
    ALPHA_SCALE = "alpha_scale"
    SCALE = "scale"
    STATED = "what the convention states, by module"
    GLOBAL = "the one alpha of the settings, without patterns"
    METADATA = "one alpha of the file's metadata"


class Missing(StrEnum):
    """What a loader does with a module without alpha."""

    RANK = "takes the rank: scale 1"
    RANK_IF_NONE_HAS_IT = "takes the rank if no module has an alpha"
    REFUSED = "refuses the file"
    DEFAULT_8 = "takes 8"


class Zero(StrEnum):
    """What a loader does with alpha 0."""

    ZERO = "scale 0"
    ONE = "scale 1"


class Divisor(StrEnum):
    """What a loader divides alpha by."""

    ROWS = "the rows of A"
    COLUMNS = "the columns of B"
    SETTINGS = "the one rank of the settings"


class Models(StrEnum):
    """Which models a loader is for."""

    ANY = "any"
    DIFFUSION = "diffusion models"


class Magnitude(StrEnum):
    """What a loader does with DoRA's magnitude."""

    APPLIED = "applies it"
    IGNORED = "does not read it"
    REFUSED = "refuses the file"


@immutable(frozen=True, slots=True)
class Files:
    """Which files a case is about: all that is given here holds for every module of the file."""

    conventions: tuple[str, ...] = ()  # names of `conventions.CONVENTIONS`; empty: any
    pairs: tuple[Pair, ...] = ()  # how the factors are called; empty: any way
    begin: tuple[str, ...] = ()  # what the modules' names begin with
    but_not: tuple[str, ...] = ()  # and what none begins with
    inside: tuple[str, ...] = ()  # one of these is in a name of the file
    ends: tuple[str, ...] = ()  # one of these ends a name of the file
    with_part: str = ""  # a module has a tensor in this role
    some_without: str = ""  # a tensor's name lacks this word; DoRA's `.dora_scale` aside
    name: str = ""  # the file's own name
    other_names: tuple[str, ...] = ()  # any name but these


@immutable(frozen=True, slots=True)
class Scales:
    """The loader applies the factors, at a scale that it finds so."""

    source: str
    alpha: tuple[Statement, ...] = ()  # looked for in this order; none: always scale 1
    missing: Missing = Missing.RANK
    zero: Zero = Zero.ZERO
    divisor: Divisor = Divisor.ROWS
    rslora: bool = True  # whether the settings' use_rslora is honoured
    whole: bool = False  # int(alpha)
    squared: frozenset[Kind] = frozenset()  # kinds that are scaled twice
    kinds: frozenset[Kind] = LOW_RANK  # known to be applied
    as_they_are: frozenset[Kind] = frozenset()  # kinds without a scale that are known to be applied
    cores: bool = False  # whether a tensor between the factors is known to be read
    magnitudes: tuple[tuple[str, Magnitude], ...] = ()  # by role; a role that is not here is not known
    loses_renamed: bool = False  # alpha is lost for modules that the loader knows under other names
    skipped: str = ""  # modules with this in their names get no alpha
    one_rank: bool = False  # files with several ranks are refused
    prefix: str = ""  # what tensors without it are taken for is not known
    only: str = ""  # models that know such names; for others nothing of the file is applied
    note: str = ""
    note_on_ranks: str = ""  # where modules have different ranks


@immutable(frozen=True, slots=True)
class Skips:
    """The loader applies nothing of the file, with a warning at most."""

    source: str
    why: str = "such names mean none of its layers"


@immutable(frozen=True, slots=True)
class Refuses:
    """The loader ends with an error."""

    source: str
    why: str


@immutable(frozen=True, slots=True)
class Unsaid:
    """Nobody has read or run what happens."""

    why: str
    source: str = ""


@immutable(frozen=True, slots=True)
class Case:
    """What a loader does with some files. Of a loader's cases the first one that fits a file counts."""

    files: Files
    does: Scales | Skips | Refuses | Unsaid


@immutable(frozen=True, slots=True)
class Loader:
    """A loader, and how its caller chooses a strength."""

    key: str
    title: str
    argument: str  # with {} for the number; empty: the caller has no say
    cases: tuple[Case, ...]
    note: str = ""
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = (".safetensors",)  # files that it is known to open
    models: Models = Models.DIFFUSION
