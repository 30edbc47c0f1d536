"""Which rules run on which file: codes, prefixes of codes and names, from options and settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.config import Config, ConfigError, Configs
from lorascale_lint.errors import InputError
from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.project import Words

if TYPE_CHECKING:
    from lorascale_lint.rule import Explained

_PREFIX = re.compile(r"[A-Z]{2,8}\d*")


class UnknownRule(InputError):
    """No rule has this code, prefix or name; the text names the nearest one."""


class Catalog:
    """The codes and names of all rules."""

    def __init__(self, names: Callable[[], Mapping[str, str]]) -> None:
        """``names`` are looked for when somebody asks: that imports all rules."""
        self._names = names

    @classmethod
    def load(cls) -> Catalog:
        """The rules of this installation."""
        return cls(_installed)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names by code. Raises `PlugInError`."""
        return self._names()

    @cached_property
    def codes(self) -> frozenset[str]:
        """All codes."""
        return frozenset(self.names)

    def resolve(self, selector: str) -> frozenset[str]:
        """Codes that a code, a prefix of codes, a name or ``ALL`` stands for. Raises `UnknownRule`."""
        selector = selector.strip()
        if selector.upper() == "ALL":
            return self.codes
        found = frozenset(
            code
            for code, name in self.names.items()
            if name == selector or (_PREFIX.fullmatch(selector.upper()) and code.startswith(selector.upper()))
        )
        if not found:
            known = sorted([*self.names, *self.names.values()])
            near = difflib.get_close_matches(selector.upper(), self.names, n=1) or difflib.get_close_matches(
                selector, known, n=1, cutoff=0.5
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownRule(f"unknown rule {selector!r}{hint}")
        return found

    def resolve_all(self, selectors: tuple[str, ...]) -> frozenset[str]:
        """Union of `resolve`. Raises `UnknownRule`."""
        return frozenset[str]().union(*map(self.resolve, selectors))


def _installed() -> dict[str, str]:
    from lorascale_lint.run_rules import selectable_pages

    return {page.code: page.name for page in selectable_pages()}


def find_page(selector: str) -> Explained:
    """The page of the one rule that a code, name or prefix stands for. Raises `UnknownRule`."""
    from lorascale_lint.run_rules import all_pages

    pages = {page.code: page for page in all_pages()}
    codes = Catalog(lambda: {code: page.name for code, page in pages.items()}).resolve(selector)
    if len(codes) != 1:
        raise UnknownRule(f"{selector!r} stands for {len(codes)} rules: {', '.join(sorted(codes))}")
    return pages[min(codes)]


@dataclass(frozen=True, slots=True)
class Choice:
    """What options say about rules. ``severity`` None and empty tuples leave it to the settings."""

    select: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fixable: tuple[str, ...] = ()
    unfixable: tuple[str, ...] = ()
    severity: str | None = None
    preview: bool = False


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What holds for the files of one `Config`."""

    codes: frozenset[str]
    fixable: frozenset[str]
    named: frozenset[str]


class Selection:
    """The rules for each file, and what of their findings is shown.

    ``--select`` replaces what the settings select and ignore; ``--extend-select`` adds to either;
    ``--ignore`` and ``per-file-ignores`` always hold.
    """

    def __init__(self, catalog: Catalog, configs: Configs, choice: Choice) -> None:
        """Raises `UnknownRule` for an option that names no rule."""
        self.catalog = catalog
        self._configs = configs
        self._choice = choice
        self._chosen: dict[Config, _Chosen] = {}
        for selectors in (
            choice.select,
            choice.extend_select,
            choice.ignore,
            choice.fixable,
            choice.unfixable,
        ):
            catalog.resolve_all(selectors)

    def codes_for(self, path: Path) -> frozenset[str]:
        """Codes that run on the file. Raises `ConfigError`."""
        config = self._configs.of(path)
        ignored = (*self._choice.ignore, *config.ignored_in(path))
        return self._of(config).codes - self.catalog.resolve_all(ignored)

    def is_default(self, paths: Iterable[Path]) -> bool:
        """Do neither options nor the settings of any of these files name a rule? Raises `ConfigError`."""
        choice = self._choice
        named = (choice.select, choice.extend_select, choice.ignore, choice.fixable, choice.unfixable)
        return not any(named) and not any(map(_names_rules, map(self._configs.of, paths)))

    def words_of(self, paths: Iterable[Path]) -> Words:
        """What the projects of the files add to the tables of knowledge. Raises `ConfigError`."""
        return self._configs.words_of(paths)

    def shows(self, finding: Finding) -> bool:
        """Whether a finding of this confidence and severity is wanted in its file. Raises `ConfigError`."""
        config = self._configs.of(Path(finding.span.filename))
        if finding.severity == "warning" and (self._choice.severity or config.severity) == "error":
            return False
        return (
            finding.confidence == "high"
            or self._choice.preview
            or config.preview
            or finding.code in self._of(config).named
        )

    def presented(self, finding: Finding) -> Finding:
        """The finding, without a repair that is not wanted; none is made here. Raises `ConfigError`."""
        config = self._configs.of(Path(finding.span.filename))
        return finding if finding.code in self._of(config).fixable else replace(finding, fix=None)

    def _of(self, config: Config) -> _Chosen:
        if config not in self._chosen:
            try:
                self._chosen[config] = self._resolve(config)
            except UnknownRule as error:
                raise ConfigError(f"{config.file}: {error}") from error
        return self._chosen[config]

    def _resolve(self, config: Config) -> _Chosen:
        """What settings and options turn on; a typo in a setting is an error even where it has no effect."""
        resolve, choice = self.catalog.resolve_all, self._choice
        for _, selectors in config.per_file_ignores:
            resolve(selectors)
        configured = self.catalog.codes if config.select is None else resolve(config.select)
        configured = (configured | resolve(config.extend_select)) - resolve(config.ignore)
        selected = resolve(choice.select) if choice.select else configured
        fixable = resolve(choice.fixable or (("ALL",) if config.fixable is None else config.fixable))
        named = {*choice.select, *choice.extend_select, *(config.select or ()), *config.extend_select}
        return _Chosen(
            selected | resolve(choice.extend_select),
            fixable - resolve((*config.unfixable, *choice.unfixable)),
            # A rule that is called by its own code or name is meant with all that it has to say.
            frozenset(code for code, name in self.catalog.names.items() if named & {code, name}),
        )


def _names_rules(config: Config) -> bool:
    named = (config.select, config.extend_select, config.ignore, config.fixable, config.unfixable)
    return any(part is not None and part != () for part in named) or bool(config.per_file_ignores)
