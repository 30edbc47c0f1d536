"""The settings that hold for a file or folder: each value, and who said it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorascale_lint.config import Config, Configs
from lorascale_lint.knowledge.interfaces import StrengthArgument
from lorascale_lint.knowledge.project import Words
from lorascale_lint.report.terminal import printable
from lorascale_lint.selection import Catalog, Choice, Selection
from lorascale_lint.settings import SETTINGS
from lorascale_lint.sources.discovery import display_path


def render_settings(path: Path, *, as_json: bool) -> str:
    """As text or JSON. Raises `ConfigError`."""
    configs = Configs()
    inside = path / "file" if path.is_dir() else path
    config = configs.of(inside)
    catalog = Catalog.load()
    running = sorted(Selection(catalog, configs, Choice()).codes_for(inside))
    file = None if config.file is None else str(display_path(config.file))
    rows = list(_rows(config))
    if as_json:
        values = {key: {"value": value, "from": file if given else "default"} for key, value, given in rows}
        return json.dumps({"file": file, "settings": values, "rules": running}, indent=2) + "\n"
    long = max(len(key) for key, _, _ in rows)
    lines = [f"settings for {path}: {file or 'none found, so the defaults hold'}"]
    for key, value, given in rows:
        shown = json.dumps(value, ensure_ascii=False)
        lines.append(f"  {key:<{long}}  {shown}{'' if given else '  (default)'}")
    lines.append(f"{len(running)} of {len(catalog.codes)} rules run")
    return "".join(f"{printable(line)}\n" for line in lines)


def _rows(config: Config) -> Iterator[tuple[str, Any, bool]]:
    """Key, value and whether it was given, in the order of the table of settings."""
    for setting in SETTINGS:
        given = setting.key in config.given
        if setting.key == "verify":
            yield "verify.driver", _driver(config.verify_driver), given
        else:
            value = getattr(config, setting.key.replace("-", "_")) if given else setting.default
            yield setting.key, _plain(value), given


def _driver(driver: str | None) -> str | None:
    """With its file named as other files are."""
    file, colon, function = (driver or "").rpartition(":")
    return f"{display_path(Path(file))}:{function}" if colon else driver


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(display_path(value))
    if isinstance(value, Words):
        arguments = [_argument(item) for item in value.strength_arguments]
        return {"roles": dict(value.roles), "strength-arguments": arguments}
    if isinstance(value, tuple):
        pairs = [item for item in value if isinstance(item, tuple)]
        return {glob: list(rules) for glob, rules in pairs} if pairs else list(value)
    return value


def _argument(item: StrengthArgument) -> dict[str, Any]:
    """As it stands in the settings."""
    told = {"library": item.library, "call": item.call, "keywords": list(item.keywords)}
    return told if item.position is None else told | {"position": item.position}
