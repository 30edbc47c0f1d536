"""Find, repair and prove LoRA scaling bugs in Python code."""

# Not even `typing` is imported here: `isolation` has not yet taken the folders of the linted project, where a
# file of that name may lie, off the import path. Type checkers know this name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from lorascale_lint.api import Map, build_map, check_paths, check_source, inspect_adapter
    from lorascale_lint.errors import InputError
    from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep
    from lorascale_lint.report.content import Report
    from lorascale_lint.rule import Rule

__version__ = "0.1.0"
__all__ = [
    "Edit",
    "FileFailure",
    "Finding",
    "Fix",
    "InputError",
    "Map",
    "Position",
    "Report",
    "Rule",
    "Span",
    "TraceStep",
    "build_map",
    "check_paths",
    "check_source",
    "inspect_adapter",
]
_ROOMS = {
    "InputError": "errors",
    "Report": "report.content",
    "Rule": "rule",
    **dict.fromkeys(("Map", "build_map", "check_paths", "check_source", "inspect_adapter"), "api"),
    **dict.fromkeys(("Edit", "FileFailure", "Finding", "Fix", "Position", "Span", "TraceStep"), "findings"),
}


def __getattr__(name: str) -> object:
    """Import what is asked for, and nothing before: `lorascale-lint --version` must be instant."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found: object = getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    return found
