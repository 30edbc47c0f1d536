"""Write a pytest file for a tree: a test of each function that merges by itself, or a run of its driver."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from pathlib import Path

from lorascale_lint.facts.terms import Param
from lorascale_lint.model.applications import Application
from lorascale_lint.model.project import Function
from lorascale_lint.sources.modules import module_name
from lorascale_lint.verify.registry import UnknownDriverError, choose

# What projects call the arguments of a merge. A name that could be either factor is none of them.
_ROLES: Mapping[str, frozenset[str]] = {
    "a": frozenset(
        "a lora_a a_weight lora_a_weight weight_a mat_a matrix_a down lora_down down_weight".split()
    ),
    "b": frozenset("b lora_b b_weight lora_b_weight weight_b mat_b matrix_b up lora_up up_weight".split()),
    "alpha": frozenset("alpha lora_alpha network_alpha".split()),
    "rank": frozenset("rank r lora_rank lora_r lora_dim network_dim".split()),
    "strength": frozenset("strength lora_strength multiplier".split()),
}


def emit_test(path: Path, applications: Iterable[Application], driver: str | None) -> str | None:
    """The text of a test file for the code in `path`; None if nothing there can be called alone.

    `applications` are those of the code in `path`; `driver` is the one asked for, by option or setting.
    """
    try:
        name = choose(path, driver)[0].name
    except UnknownDriverError:
        if driver is not None:
            raise
    else:
        return _driver_test(path, _from_here(driver or name))
    calls: dict[Function, str] = {}
    for application in applications:
        call = _call(application)
        if call is not None:
            calls[application.function] = call
    return _function_tests(calls) if calls else None


def _from_here(driver: str) -> str:
    """The driver with its file, if it has one below the working directory, relative to that."""
    place, colon, attribute = driver.rpartition(":")
    file = Path(place)
    if place.endswith(".py") and file.is_absolute() and file.is_relative_to(Path.cwd()):
        return f"{file.relative_to(Path.cwd()).as_posix()}{colon}{attribute}"
    return driver


def _driver_test(path: Path, driver: str) -> str:
    return f'''"""Every LoRA delta is applied with its trained scale."""

from pathlib import Path

from lorascale_lint.verify.report import render_text
from lorascale_lint.verify.run import run_verify


def test_lora_scales() -> None:
    report = run_verify(Path({path.as_posix()!r}), driver={driver!r})
    assert report.exit_code == 0, render_text(report)
'''


def _function_tests(calls: Mapping[Function, str]) -> str:
    names: dict[str, set[str]] = {}
    for function in calls:
        names.setdefault(module_name(Path(function.filename).resolve()), set()).add(function.facts.name)
    imports = [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())]
    tests = [
        f"def test_scale_of_{function.facts.name}(lora_scale_check):\n"
        f"    lora_scale_check(\n        {call}\n    )\n"
        for function, call in calls.items()
    ]
    head = ['"""Every LoRA delta is applied with its trained scale."""', "", *imports, ""]
    return "\n\n".join(["\n".join(head), *tests])


def _call(application: Application) -> str | None:
    """A call of the function by the names of `assert_effective_scale`; None if an argument has no role."""
    function, base = application.function, application.base
    if application.kind != "merge" or "." in function.facts.qualname or not isinstance(base, Param):
        return None
    given: dict[str, str] = {}
    for parameter in function.facts.parameters:
        roles = [role for role, names in _ROLES.items() if parameter.name.casefold() in names]
        if parameter.name == base.name:
            roles = ["weight"]
        if len(roles) == 1 and roles[0] not in given.values() and not keyword.iskeyword(parameter.name):
            given[parameter.name] = roles[0]
        elif parameter.kind in ("plain", "keyword") and parameter.default is None:
            return None
    if not {"weight", "a", "b"} <= set(given.values()):
        return None
    arguments = ", ".join(f"{name}={role}" for name, role in given.items())
    return f"lambda {', '.join(given.values())}: {function.facts.name}({arguments})"
