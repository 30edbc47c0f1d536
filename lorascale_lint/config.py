"""Settings of a project: the nearest `lorascale-lint.toml`, or the section of a `pyproject.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorascale_lint.bounds import SETTINGS_BYTES, SETTINGS_KEY_PARTS
from lorascale_lint.errors import InputError
from lorascale_lint.globs import glob_matches
from lorascale_lint.knowledge.interfaces import StrengthArgument
from lorascale_lint.knowledge.project import Words, joined
from lorascale_lint.reading import read_regular
from lorascale_lint.settings import WrongSetting, read_settings

SECTION = "tool.lorascale-lint"
OWN_FILE = "lorascale-lint.toml"


class ConfigError(InputError):
    """A setting that can't be used; the text names the file, the key and what is wrong."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings for the files under ``root``, the folder that globs and files in them are relative to.

    ``file`` is where they stand, None where nobody set anything; ``given`` are the keys in it.
    """

    root: Path
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    preview: bool = False
    verify_driver: str | None = None
    extend_select: tuple[str, ...] = ()
    fixable: tuple[str, ...] | None = None
    unfixable: tuple[str, ...] = ()
    severity: str = "warning"
    extend_exclude: tuple[str, ...] = ()
    force_exclude: bool = True
    respect_gitignore: bool = True
    baseline: Path | None = None
    knowledge: Words = field(default_factory=Words)
    file: Path | None = field(default=None, compare=False)
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def excludes(self, path: Path) -> bool:
        """Whether a file or folder is excluded, by itself or with a folder above it."""
        globs = (*self.exclude, *self.extend_exclude)
        relative = _relative(path, self.root) if globs else ""
        return any(glob_matches(glob, relative) for glob in globs)

    def ignored_in(self, path: Path) -> tuple[str, ...]:
        """Rule selectors that ``per-file-ignores`` turns off in the file."""
        relative = _relative(path, self.root)
        return tuple(
            selector
            for glob, selectors in self.per_file_ignores
            if glob_matches(glob, relative)
            for selector in selectors
        )


@dataclass(frozen=True, slots=True)
class Overrides:
    """What options say in place of settings; None where they say nothing. Globs are relative to ``here``."""

    exclude: tuple[str, ...] | None = None
    extend_exclude: tuple[str, ...] = ()
    force_exclude: bool | None = None
    respect_gitignore: bool | None = None
    isolated: bool = False
    here: Path = field(default_factory=Path.cwd)


class Configs:
    """The settings that hold for each file, read once for each folder."""

    def __init__(self, overrides: Overrides | None = None) -> None:
        self._of_folder: dict[Path, Config | None] = {}
        self._known: dict[str, Config] = {}
        self._overrides = overrides

    def of(self, path: Path) -> Config:
        """Settings for a file or folder; without any, an empty `Config`. Raises `ConfigError`."""
        folder = os.path.dirname(os.path.abspath(path))
        known = self._known.get(folder)
        if known is None:
            isolated = self._overrides is not None and self._overrides.isolated
            found = None if isolated else self._find(Path(folder))
            known = self._known[folder] = found or Config(Path(folder))
        return known

    def enter(self, folder: Path) -> ConfigError | None:
        """What is wrong with the settings in ``folder``, if anything: those of the folders above hold then.

        For folders below the one that a person gave; `of` comes after this.
        """
        try:
            self._find(folder)
        except ConfigError as error:
            self._of_folder[folder] = self._find(folder.parent)
            return error
        return None

    def leaves_out(self, path: Path, *, named: bool = False) -> bool:
        """Whether options or settings exclude a file or folder; ``named`` if a person gave it."""
        config, options = self.of(path), self._overrides or Overrides()
        forced = config.force_exclude if options.force_exclude is None else options.force_exclude
        if named and not forced:
            return False
        globs = (*(options.exclude or ()), *options.extend_exclude)
        relative = _relative(path, options.here) if globs else ""
        if any(glob_matches(glob, relative) for glob in globs):
            return True
        if options.exclude is not None:
            return False
        return config.excludes(path)

    def respects_gitignore(self, path: Path) -> bool:
        """Whether what git ignores is left out beside ``path``."""
        told = None if self._overrides is None else self._overrides.respect_gitignore
        return self.of(path).respect_gitignore if told is None else told

    def words_of(self, paths: Iterable[Path]) -> Words:
        """What the settings of all these files add to the tables of knowledge. Raises `ConfigError`."""
        return joined(dict.fromkeys(self.of(path).knowledge for path in paths))

    def _find(self, folder: Path) -> Config | None:
        if folder not in self._of_folder:
            config = read_config(folder / OWN_FILE) or read_config(folder / "pyproject.toml")
            if config is None and folder.parent != folder:
                config = self._find(folder.parent)
            self._of_folder[folder] = config
        return self._of_folder[folder]


def read_config(file: Path) -> Config | None:
    """Settings in one ``pyproject.toml`` or ``lorascale-lint.toml``; None without such a file or section.

    Raises `ConfigError`.
    """
    text = _text(file)
    own = file.name == OWN_FILE
    if text is None or not (own or "lorascale-lint" in text):
        return None  # whatever else may be wrong with the file
    if any(line.count(".") > SETTINGS_KEY_PARTS for line in text.split("\n")):
        raise ConfigError(f"{file}: a line has more than {SETTINGS_KEY_PARTS} dots")
    try:
        document: Any = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deeply") from error
    except ValueError as error:  # also numbers of too many digits
        raise ConfigError(f"{file}: {error}") from error
    if own:
        return _config(file, document, OWN_FILE)
    tool = document.get("tool", {})
    if not isinstance(tool, dict) or "lorascale-lint" not in tool:
        return None
    return _config(file, tool["lorascale-lint"], f"[{SECTION}]")


def _config(file: Path, section: Any, where: str) -> Config:
    try:
        values = read_settings(section, where)
    except WrongSetting as error:
        raise ConfigError(f"{file}: {error}") from error
    root, given = file.parent, frozenset(values)
    if baseline := values.pop("baseline", None):
        values["baseline"] = root / baseline
    if driver := values.pop("verify", {}).get("driver"):
        place, _, attribute = driver.rpartition(":")
        values["verify-driver"] = f"{root / place}:{attribute}" if place.endswith(".py") else driver
    if "knowledge" in values:
        values["knowledge"] = _words(values["knowledge"])
    named = {key.replace("-", "_"): value for key, value in values.items()}
    return Config(root, file=file, given=given, **named)


def _words(table: Mapping[str, Any]) -> Words:
    return Words(
        table.get("roles", ()),
        tuple(
            StrengthArgument(item["library"], item["call"], item["keywords"], item.get("position"))
            for item in table.get("strength-arguments", ())
        ),
    )


def _text(file: Path) -> str | None:
    """Content of the file; None when there is none. Raises `ConfigError`."""
    try:
        return read_regular(file, SETTINGS_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or error}") from error


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(os.path.abspath(path), folder).replace(os.sep, "/")
