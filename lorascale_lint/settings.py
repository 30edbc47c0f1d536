"""Every setting of a project: type, default and meaning. The loader and the JSON Schema read this."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorascale_lint.knowledge.roles import NAMED

Kind = Literal[
    "rules",
    "globs",
    "boolean",
    "severity",
    "file",
    "rules by glob",
    "table",
    "tables",
    "name",
    "names",
    "place",
    "roles",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. ``table`` are the keys of a table, or of each in a list; ``required`` is for one in those."""

    key: str
    kind: Kind
    default: Any
    what: str
    table: tuple[Setting, ...] = ()
    required: bool = False


SETTINGS = (
    Setting("select", "rules", ["ALL"], "The rules to run: codes, prefixes of codes, names."),
    Setting("extend-select", "rules", [], "Rules to run beside those of `select`."),
    Setting("ignore", "rules", [], "Rules not to run."),
    Setting("per-file-ignores", "rules by glob", {}, "Rules not to run on the files that a glob matches."),
    Setting("fixable", "rules", ["ALL"], "Rules whose repairs may be applied."),
    Setting("unfixable", "rules", [], "Rules whose repairs are not applied."),
    Setting("severity", "severity", "warning", "The least severity to report."),
    Setting("preview", "boolean", False, "Also report what is plausible but not shown by the code."),
    Setting("exclude", "globs", [], "Files and folders to leave out, beside `build`, `.venv` and the like."),
    Setting("extend-exclude", "globs", [], "More files and folders to leave out."),
    Setting("force-exclude", "boolean", True, "Leave out excluded files also where they are named."),
    Setting("respect-gitignore", "boolean", True, "Leave out what git ignores, unless it is named."),
    Setting("baseline", "file", None, "The file of known findings, as `--baseline` takes it."),
    Setting(
        "verify",
        "table",
        {},
        "Settings of `lorascale-lint verify`.",
        (Setting("driver", "file", None, "The driver: a name, or FILE.py:FUNCTION."),),
    ),
    Setting(
        "knowledge",
        "table",
        {},
        "What names and arguments mean in this project, beside what is built in.",
        (
            Setting("roles", "roles", {}, "The role of what each identifier names."),
            Setting(
                "strength-arguments",
                "tables",
                [],
                "Arguments that multiply the delta as it is.",
                (
                    Setting("library", "name", None, "The package that a file must import.", required=True),
                    Setting("call", "name", None, "Last part of the function's name.", required=True),
                    Setting("keywords", "names", None, "Names of the argument.", required=True),
                    Setting("position", "place", None, "Its place in calls without the keyword, from 0."),
                ),
            ),
        ),
    ),
)
"""In the order in which they are shown."""
_SEVERITIES = ("error", "warning")
_IDENTIFIER = "^[A-Za-z_\u0080-\uffff][0-9A-Za-z_\u0080-\uffff]*$"


class WrongSetting(ValueError):
    """The text says which key is wrong and what it must be; where it stands is for the caller to say."""


def read_settings(section: Any, where: str, settings: tuple[Setting, ...] = SETTINGS) -> dict[str, Any]:
    """The values that a section gives, by key. ``where`` names the section. Raises `WrongSetting`."""
    if not isinstance(section, dict):
        raise WrongSetting(f"{where} must be a table")
    known = {setting.key: setting for setting in settings}
    values = {}
    for key, value in section.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise WrongSetting(f"unknown key {key!r} in {where}; did you mean {near!r}?")
        values[key] = _value(known[key], value, where)
    for key, setting in known.items():
        if setting.required and key not in values:
            raise WrongSetting(f"{key} is missing in {where}")
    return values


def _value(setting: Setting, value: Any, where: str) -> Any:
    name = f"{setting.key} in {where}"
    match setting.kind:
        case "rules" | "globs" | "names":
            return _strings(value, name)
        case "boolean" if not isinstance(value, bool):
            raise WrongSetting(f"{name} must be true or false")
        case "file" if not isinstance(value, str):
            raise WrongSetting(f"{name} must be a string")
        case "severity" if value not in _SEVERITIES:
            raise WrongSetting(f"{name} must be one of {', '.join(_SEVERITIES)}")
        case "rules by glob":
            if not isinstance(value, dict):
                raise WrongSetting(f"{name} must be a table of lists of strings")
            return tuple(
                (glob, _strings(rules, f'{setting.key}."{glob}" in {where}')) for glob, rules in value.items()
            )
        case "table":
            return read_settings(value, name, setting.table)
        case "tables":
            if not isinstance(value, list):
                raise WrongSetting(f"{name} must be a list of tables")
            return tuple(read_settings(item, f"an item of {name}", setting.table) for item in value)
        case "name" if not isinstance(value, str) or not value:
            raise WrongSetting(f"{name} must be a string that is not empty")
        case "place":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or value < 0 or value % 1 != 0:
                raise WrongSetting(f"{name} must be a whole number from 0")
            return int(value)
        case "roles":
            return _roles(value, name, where)
    return value


def _roles(value: Any, name: str, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise WrongSetting(f"{name} must be a table of names of roles")
    for word, role in value.items():
        if not re.search(_IDENTIFIER, word):
            raise WrongSetting(f"{word!r} of {name} must be an identifier")
        if role not in NAMED:
            raise WrongSetting(f"roles.{word} in {where} must be one of {', '.join(NAMED)}")
    return tuple(value.items())


def _strings(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise WrongSetting(f"{name} must be a list of strings")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``lorascale-lint.toml`` and of ``[tool.lorascale-lint]``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of lorascale-lint",
        **_table(SETTINGS),
    }


def _table(settings: tuple[Setting, ...]) -> dict[str, Any]:
    properties = {}
    for setting in settings:
        properties[setting.key] = {"description": setting.what, **_type(setting)}
        if setting.default is not None:
            properties[setting.key]["default"] = setting.default
    required = [setting.key for setting in settings if setting.required]
    table = {"type": "object", "additionalProperties": False, "properties": properties}
    return table | ({"required": required} if required else {})


def _type(setting: Setting) -> Mapping[str, Any]:
    strings = {"type": "array", "items": {"type": "string"}}
    types: dict[Kind, dict[str, Any]] = {
        "rules": strings,
        "globs": strings,
        "boolean": {"type": "boolean"},
        "severity": {"enum": list(_SEVERITIES)},
        "file": {"type": "string"},
        "rules by glob": {"type": "object", "additionalProperties": strings},
        "table": _table(setting.table),
        "tables": {"type": "array", "items": _table(setting.table)},
        "name": {"type": "string", "minLength": 1},
        "names": strings,
        "place": {"type": "integer", "minimum": 0},
        "roles": {
            "type": "object",
            "propertyNames": {"pattern": _IDENTIFIER},
            "additionalProperties": {"enum": list(NAMED)},
        },
    }
    return types[setting.kind]
