"""Settings of a project: `[tool.lorascale-lint]` in the nearest `pyproject.toml` that has it."""

from __future__ import annotations

import difflib
import fnmatch
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lorascale_lint.bounds import SETTINGS_BYTES, SETTINGS_KEY_PARTS
from lorascale_lint.errors import InputError
from lorascale_lint.reading import read_regular

SECTION = "tool.lorascale-lint"
_KEYS = ("select", "ignore", "exclude", "per-file-ignores", "preview", "verify")


class ConfigError(InputError):
    """A setting that can't be used; the text names the file, the key and what is wrong."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings for the files under ``root``, the folder that the globs are relative to."""

    root: Path
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    preview: bool = False
    verify_driver: str | None = None

    def excludes(self, path: Path) -> bool:
        """Whether a file or folder is excluded, by itself or with a folder above it."""
        return any(glob_matches(glob, self._relative(path)) for glob in self.exclude)

    def ignored_in(self, path: Path) -> tuple[str, ...]:
        """Rule selectors that ``per-file-ignores`` turns off in the file."""
        relative = self._relative(path)
        return tuple(
            selector
            for glob, selectors in self.per_file_ignores
            if glob_matches(glob, relative)
            for selector in selectors
        )

    def _relative(self, path: Path) -> str:
        return os.path.relpath(os.path.abspath(path), self.root).replace(os.sep, "/")


class Configs:
    """The settings that hold for each file, read once for each folder."""

    def __init__(self) -> None:
        self._of_folder: dict[Path, Config | None] = {}

    def of(self, path: Path) -> Config:
        """Settings for a file or folder; without any, an empty `Config`. Raises `ConfigError`."""
        folder = Path(os.path.abspath(path)).parent
        return self._find(folder) or Config(folder)

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

    def _find(self, folder: Path) -> Config | None:
        if folder not in self._of_folder:
            config = read_config(folder / "pyproject.toml")
            if config is None and folder.parent != folder:
                config = self._find(folder.parent)
            self._of_folder[folder] = config
        return self._of_folder[folder]


def read_config(pyproject: Path) -> Config | None:
    """Settings in one ``pyproject.toml``; None when there is no such file or section.

    Raises `ConfigError`.
    """
    text = _text(pyproject)
    if text is None or "lorascale-lint" not in text:
        return None  # whatever else may be wrong with the file
    if any(line.count(".") > SETTINGS_KEY_PARTS for line in text.split("\n")):
        raise ConfigError(f"{pyproject}: a line has more than {SETTINGS_KEY_PARTS} dots")
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{pyproject}: nested too deeply") from error
    except ValueError as error:  # also numbers of too many digits
        raise ConfigError(f"{pyproject}: {error}") from error
    tool = document.get("tool", {})
    if not isinstance(tool, dict) or "lorascale-lint" not in tool:
        return None
    section = tool["lorascale-lint"]
    if not isinstance(section, dict):
        raise ConfigError(f"{pyproject}: {SECTION} must be a table")
    for key in section:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{pyproject}: unknown key {key!r} in [{SECTION}]; did you mean {near!r}?")
    per_file = section.get("per-file-ignores", {})
    if not isinstance(per_file, dict):
        raise ConfigError(f"{pyproject}: per-file-ignores in [{SECTION}] must be a table of lists of strings")
    preview = section.get("preview", False)
    if not isinstance(preview, bool):
        raise ConfigError(f"{pyproject}: preview in [{SECTION}] must be true or false")
    return Config(
        preview=preview,
        verify_driver=_verify_driver(pyproject, section.get("verify", {})),
        root=pyproject.parent,
        select=_strings(pyproject, "select", section["select"]) if "select" in section else None,
        ignore=_strings(pyproject, "ignore", section.get("ignore", [])),
        exclude=_strings(pyproject, "exclude", section.get("exclude", [])),
        per_file_ignores=tuple(
            (glob, _strings(pyproject, f'per-file-ignores."{glob}"', selectors))
            for glob, selectors in per_file.items()
        ),
    )


def _text(pyproject: Path) -> str | None:
    """Content of the file; None when there is none. Raises `ConfigError`."""
    try:
        return read_regular(pyproject, SETTINGS_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{pyproject}: {getattr(error, 'strerror', None) or error}") from error


def _verify_driver(pyproject: Path, table: Any) -> str | None:
    """``verify.driver``; a file in it is relative to the folder of the ``pyproject.toml``."""
    where = f"{pyproject}: verify in [{SECTION}]"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table")
    for key in table:
        if key != "driver":
            raise ConfigError(f"{where} has the unknown key {key!r}; did you mean 'driver'?")
    driver = table.get("driver")
    if driver is None:
        return None
    if not isinstance(driver, str):
        raise ConfigError(f"{where}: driver must be a string")
    place, _, attribute = driver.rpartition(":")
    return f"{pyproject.parent / place}:{attribute}" if place.endswith(".py") else driver


def _strings(pyproject: Path, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ConfigError(f"{pyproject}: {key} in [{SECTION}] must be a list of strings")


def glob_matches(glob: str, relative: str) -> bool:
    """Whether the glob names the file ``relative`` (with ``/``) or a folder above it.

    ``*`` and ``?`` stop at ``/`` and ``**`` does not. A glob without ``/`` matches a name at any depth. Takes
    time in proportion to the lengths of both, whatever the glob: `fnmatch` does not go back in a name, and
    this does not go back in a path.
    """
    wanted = _parts(glob)
    reached = _over_any_folders(wanted, {0})
    for part in relative.split("/"):
        reached = _over_any_folders(
            wanted,
            {
                place if wanted[place] == "**" else place + 1
                for place in reached
                if wanted[place] == "**" or fnmatch.fnmatchcase(part, wanted[place])
            },
        )
        if len(wanted) in reached:
            return True
    return False


def _over_any_folders(wanted: tuple[str, ...], reached: set[int]) -> set[int]:
    """``reached``, and the places behind a ``**`` that stands for no folder."""
    for place, part in enumerate(wanted):
        if place in reached and part == "**":
            reached.add(place + 1)
    return reached


@cache
def _parts(glob: str) -> tuple[str, ...]:
    parts: list[str] = [] if "/" in glob.rstrip("/") else ["**"]
    for part in glob.removeprefix("./").strip("/").split("/"):
        # `**.py` is a `.py` file in any folder.
        parts += ["**", part] if "**" in part and part != "**" else [part]
    return tuple(parts)
