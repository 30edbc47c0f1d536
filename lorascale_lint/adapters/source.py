"""What is given on the command line: adapter files, and the settings that lie beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorascale_lint.adapters.factors import NUMBERS, Factors, group
from lorascale_lint.adapters.file_types import SUFFIXES, is_candidate, read_adapter_header
from lorascale_lint.adapters.header import Header
from lorascale_lint.adapters.patterns import Patterns
from lorascale_lint.errors import InputError
from lorascale_lint.reading import read_regular

ADAPTER_CONFIG = "adapter_config.json"
HYPERPARAMETERS = "hyperparameters.yaml"
_LARGEST_CONFIG = 16 * 2**20
_NAMED = ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"
_SNAPSHOTS = "snapshots"
_LONGEST_REVISION = 1000
# Other files of a PEFT, diffusers or mlx folder share their settings with none but these.
_WEIGHTS = re.compile(
    r"(adapter_model|adapters|lit_model|pytorch_lora_weights|.*_adapters|adapter_\d+)(\..*)?"
)
_YAML_LINE = re.compile(r"(lora_\w+|\w+):\s*([^#\s]+)\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """One adapter file, read as far as it is needed."""

    path: Path
    header: Header
    modules: Mapping[str, Factors]
    rest: tuple[str, ...]
    config: Mapping[str, Any] | None = None
    hyperparameters: Mapping[str, str] | None = None
    # Read once, not once for each module.
    _json: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _patterns: dict[int, Patterns] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata strings of the file."""
        return self.header.metadata

    def json_metadata(self, key: str) -> Mapping[str, Any]:
        """A metadata string that holds a JSON object; empty if it is missing or something else."""
        if key not in self._json:
            try:
                found = json.loads(self.metadata.get(key, ""))
            except (ValueError, RecursionError):
                found = None
            self._json[key] = found if isinstance(found, dict) else {}
        return self._json[key]

    def patterns(self, config: Mapping[str, Any], table: str) -> Patterns:
        """A table of patterns in PEFT's settings. Raises InputError if it is too large to be searched."""
        given = config.get(table)
        found = self._patterns.get(id(given))
        if found is None:
            found = self._patterns[id(given)] = Patterns(given)
            if not found.is_bearable(len(self.modules)):
                raise InputError(f"{self.path}: `{table}` has too many expressions for so many modules")
        return found


def find_files(path: Path) -> list[Path]:
    """The adapter files that a path stands for, in a folder by their suffix. Raises InputError if none.

    Of a model in Hugging Face's cache it is the revision that `main` names, or else the newest one.
    """
    try:
        if not path.is_dir():
            if not path.exists():
                raise InputError(f"{path}: no such file or directory")
            if path.suffix not in SUFFIXES:
                raise InputError(f"{path}: not a {_NAMED} file; other formats are not read")
            return [path]
        # Links to folders are not followed, so that a loop of links ends.
        found = sorted(file for file in path.rglob("*") if is_candidate(file) and file.is_file())
        found = _of_one_revision(found, len(path.parts) - 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    if not found:
        raise InputError(f"{path}: no {_NAMED} file in it; other formats are not read")
    return found


def _of_one_revision(files: Sequence[Path], first: int) -> list[Path]:
    """Of files below `models--*/snapshots/REVISION` those of one revision of each model.

    The first parts of the path were given by the user: who names a revision gets that one.
    """
    chosen: dict[Path, str] = {}
    kept: list[Path] = []
    for file in files:
        parts = file.parts
        place = next((n for n in range(first, len(parts) - 2) if parts[n] == _SNAPSHOTS), 0)
        if not place or not parts[place - 1].startswith("models--"):
            kept.append(file)
            continue
        model = Path(*parts[:place])
        if model not in chosen:
            chosen[model] = _revision(model)
        if parts[place + 1] == chosen[model]:
            kept.append(file)
    return kept


def _revision(model: Path) -> str:
    main = model / "refs" / "main"
    named = read_regular(main, _LONGEST_REVISION).decode().strip() if main.is_file() else ""
    snapshots = sorted((model / _SNAPSHOTS).iterdir(), key=lambda item: item.stat().st_mtime)
    return named if any(item.name == named for item in snapshots) else snapshots[-1].name


def read_source(path: Path) -> AdapterSource:
    """Read one adapter file and what lies beside it. Raises InputError if that can't be read."""
    header = read_adapter_header(path)
    modules, rest = group(header.tensors)
    wanted = {
        factors.keys[role]: (factors, role)
        for factors in modules.values()
        for role in NUMBERS & factors.keys.keys()
    }
    for key, values in header.numbers(wanted).items():
        factors, role = wanted[key]
        factors.numbers[role] = values
    config = hyperparameters = None
    if _WEIGHTS.fullmatch(path.name) or _is_alone(path):
        config = _config(path.parent / ADAPTER_CONFIG)
        hyperparameters = _yaml(path.parent / HYPERPARAMETERS)
    return AdapterSource(path, header, modules, tuple(rest), config, hyperparameters)


def _is_alone(path: Path) -> bool:
    others = (file for file in path.parent.iterdir() if is_candidate(file) and file.name != path.name)
    return next(others, None) is None


def _text(path: Path) -> str | None:
    try:
        if path.is_file():
            return read_regular(path, _LARGEST_CONFIG).decode()
        if path.exists() or path.is_symlink():
            # Without it the file would be said to state no alpha.
            raise InputError(f"{path}: not a file")
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {error}") from None


def _config(path: Path) -> Mapping[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except RecursionError:
        raise InputError(f"{path}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object")
    return found


def _yaml(path: Path) -> Mapping[str, str] | None:
    # litgpt writes `name: value` lines at the top level; nothing else of YAML is needed.
    text = _text(path)
    if text is None:
        return None
    return {found[1]: found[2] for line in text.splitlines() if (found := _YAML_LINE.fullmatch(line))}


def as_number(value: object) -> float | None:
    """A number, also as a string ("64"); None for anything else ("Dynamic", "None", true)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_rank(value: object) -> int | None:
    """A whole positive number, also as a string."""
    number = as_number(value)
    if number is None or not math.isfinite(number) or number < 1 or number != int(number):
        return None
    return int(number)
