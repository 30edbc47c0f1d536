"""Which rules run on which file: codes, prefixes of codes and names, from options and settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lorascale_lint.config import Config, ConfigError, Configs
from lorascale_lint.errors import InputError
from lorascale_lint.findings import Finding
from lorascale_lint.rule import Explained
from lorascale_lint.run_rules import all_pages, selectable_pages


class UnknownRule(InputError):
    """No rule has this code, prefix or name; the text names the nearest one."""


@dataclass(frozen=True)
class Catalog:
    """The codes and names of all rules."""

    names: Mapping[str, str]

    @classmethod
    def load(cls) -> Catalog:
        """The rules of this installation."""
        return cls({page.code: page.name for page in selectable_pages()})

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
            if name == selector or (selector.upper().startswith("LS") and code.startswith(selector.upper()))
        )
        if not found:
            known = sorted([*self.names, *self.names.values()])
            near = difflib.get_close_matches(selector.upper(), self.names, n=1) or difflib.get_close_matches(
                selector, known, n=1, cutoff=0.0
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownRule(f"unknown rule {selector!r}{hint}")
        return found

    def resolve_all(self, selectors: tuple[str, ...]) -> frozenset[str]:
        """Union of `resolve`. Raises `UnknownRule`."""
        return frozenset[str]().union(*map(self.resolve, selectors))


def find_page(selector: str) -> Explained:
    """The page of the one rule that a code, name or prefix stands for. Raises `UnknownRule`."""
    pages = {page.code: page for page in all_pages()}
    codes = Catalog({code: page.name for code, page in pages.items()}).resolve(selector)
    if len(codes) != 1:
        raise UnknownRule(f"{selector!r} stands for {len(codes)} rules: {', '.join(sorted(codes))}")
    return pages[min(codes)]


class Selection:
    """The rules for each file.

    ``--select`` replaces what the settings select and ignore; ``--ignore`` and ``per-file-ignores``
    always hold.
    """

    def __init__(
        self,
        catalog: Catalog,
        configs: Configs,
        select: tuple[str, ...],
        ignore: tuple[str, ...],
        *,
        preview: bool = False,
    ) -> None:
        """Raises `UnknownRule` for an option that names no rule."""
        self.catalog = catalog
        self._configs = configs
        self._select = catalog.resolve_all(select) if select else None
        self._ignore = catalog.resolve_all(ignore)
        self._preview = preview
        # A rule that is called by its own code or name is meant with all that it has to say.
        self._named = frozenset(code for code, name in catalog.names.items() if {code, name} & {*select})
        self._configured: dict[Config, frozenset[str]] = {}

    def codes_for(self, path: Path) -> frozenset[str]:
        """Codes that run on the file. Raises `ConfigError`."""
        config = self._configs.of(path)
        if config not in self._configured:
            self._configured[config] = self._resolve(config)
        base = self._configured[config] if self._select is None else self._select
        return base - self._ignore - self.catalog.resolve_all(config.ignored_in(path))

    def shows(self, finding: Finding) -> bool:
        """Whether a finding of this confidence is wanted in its file. Raises `ConfigError`."""
        return (
            finding.confidence == "high"
            or self._preview
            or finding.code in self._named
            or self._configs.of(Path(finding.span.filename)).preview
        )

    def _resolve(self, config: Config) -> frozenset[str]:
        """What the settings turn on; a typo in any key is an error even where it has no effect."""
        resolve = self.catalog.resolve_all
        try:
            for _, selectors in config.per_file_ignores:
                resolve(selectors)
            selected = self.catalog.codes if config.select is None else resolve(config.select)
            return selected - resolve(config.ignore)
        except UnknownRule as error:
            raise ConfigError(f"{config.root / 'pyproject.toml'}: {error}") from error
