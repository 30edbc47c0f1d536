"""Write a pytest file for a tree: a test of each function that merges by itself, or a run of its driver."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from pathlib import Path

from lorascale_lint.ledger.entries import Apply
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, Tensor
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


def emit_test(path: Path, applications: Iterable[Apply], driver: str | None) -> str | None:
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
    calls: dict[FunctionInfo, str] = {}
    for application in applications:
        call = _call(application)
        if call is not None and application.spot.function is not None:
            calls[application.spot.function] = call
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


def _function_tests(calls: Mapping[FunctionInfo, str]) -> str:
    names: dict[str, set[str]] = {}
    for function in calls:
        module = module_name(Path(function.file.filename).resolve())
        names.setdefault(module, set()).add(function.name)
    imports = [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())]
    tests = [
        f"def test_scale_of_{function.name}(lora_scale_check):\n"
        f"    lora_scale_check(\n        {call}\n    )\n"
        for function, call in calls.items()
    ]
    head = ['"""Every LoRA delta is applied with its trained scale."""', "", *imports, ""]
    return "\n\n".join(["\n".join(head), *tests])


def _call(application: Apply) -> str | None:
    """A call of the function by the names of `assert_effective_scale`; None if an argument has no role."""
    function, base = application.spot.function, application.base
    held = base.path if isinstance(base, Place) else base.origin if isinstance(base, Tensor) else ""
    if application.kind != "merge" or application.spot.chain or function is None:
        return None
    args = function.node.args
    parameters = [item.arg for item in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    if "." in function.qualname or held not in parameters:
        return None
    given: dict[str, str] = {}
    for name in parameters:
        roles = [role for role, names in _ROLES.items() if name.casefold() in names]
        if name == held:
            roles = ["weight"]
        if len(roles) == 1 and roles[0] not in given.values() and not keyword.iskeyword(name):
            given[name] = roles[0]
        elif function.default(name) is None:
            return None
    if not {"weight", "a", "b"} <= set(given.values()):
        return None
    arguments = ", ".join(f"{name}={role}" for name, role in given.items())
    return f"lambda {', '.join(given.values())}: {function.name}({arguments})"
