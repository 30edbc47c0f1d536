"""The child process: `python -m lorascale_lint.verify.child ORDER`.

The target's code is run here and nowhere else.

`ORDER` is a JSON file (see `Order`). Events go to the order's result file, one JSON object a line, because
targets print whatever they like to stdout.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lorascale_lint.verify import stand_in
from lorascale_lint.verify.arrays import device_of_rank, use_compiler, use_device
from lorascale_lint.verify.examination import examine
from lorascale_lint.verify.file_kinds import file_scenarios
from lorascale_lint.verify.harness.questions import HarnessDriver, Question, questions
from lorascale_lint.verify.order import IMPORT_FAILED, Order
from lorascale_lint.verify.protocol import Driver
from lorascale_lint.verify.real_adapters import BaseWeights, RealModule, read_modules
from lorascale_lint.verify.real_layers import examine_module, how_reached
from lorascale_lint.verify.registry import load_factory, make_importable
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.sharded import sharded_scenarios
from lorascale_lint.verify.steps import Scenario
from lorascale_lint.verify.verdicts import Row

# Seconds between looks for what the first rank has said.
_POLL = 0.01


class _Results:
    """The event file. Every event is flushed, so that a crash loses none.

    Of several ranks each tells its rows; the rest would be the same from all, so the first one tells it.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open until the process ends)
        self._rank = int(os.environ.get("RANK", 0))

    def row(self, row: Row) -> None:
        self._write("row", rank=self._rank, row=row.as_dict())

    def finished(self) -> None:
        self._write("finished")

    def event(self, kind: str, **data: Any) -> None:
        if self._rank == 0:
            self._write(kind, **data)

    def begin(self, scenario: str) -> None:
        """Say that a scenario begins; other ranks wait for the first one to have said it.

        One that dies in it would otherwise die in something that nobody has heard of.
        """
        self.event("scenario", name=scenario)
        if self._rank:
            said = json.dumps({"event": "scenario", "name": scenario})
            while said not in Path(self._file.name).read_text(encoding="utf-8").splitlines():
                time.sleep(_POLL)

    def _write(self, kind: str, **data: Any) -> None:
        self._file.write(json.dumps({"event": kind, **data}) + "\n")
        self._file.flush()


def main(arguments: list[str]) -> int:
    """Carry out an order; returns the exit status."""
    order = Order.read(Path(arguments[0]))
    results = _Results(order.results)
    faulthandler.enable()
    with contextlib.suppress(OSError):
        # Should memory run out in spite of the limit, this is the process to be killed for it.
        Path("/proc/self/oom_score_adj").write_text("1000")
    results.event("started", python=platform.python_version())

    use_device(device_of_rank(order.device, int(os.environ.get("LOCAL_RANK", 0))))
    if order.device.startswith(stand_in.NAME):
        stand_in.register()
    try:
        if order.factory.rpartition(":")[0].endswith(".py"):
            make_importable(Path(order.package))
        driver = load_factory(order.factory)(Path(order.package), order.import_mode)
    except BaseException as error:  # SystemExit too: the target's import must not pass for our own end.
        traceback.print_exc()
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        text = " ".join(str(error).split())[:500]
        results.event("import-failed", error=f"{type(error).__name__}: {text}", missing=missing)
        return IMPORT_FAILED

    if order.compiled and (problem := use_compiler()):
        results.event("impossible", reason=f"torch.compile cannot be used: {problem}")
        return IMPORT_FAILED

    def facts() -> None:
        told = driver.facts()
        if order.compiled:
            told = replace(told, framework=f"{told.framework}, forwards compiled")
        results.event("facts", **_plain(asdict(told)))

    facts()
    asked = _asked(order, driver)
    if order.adapter:
        results.event("note", text=how_reached(driver))
    weights = BaseWeights(Path(order.base) if order.base else None)
    plan = [{"name": item.name, "rows": [row.as_dict() for row in item.blank_rows()]} for item in asked]
    results.event("plan", scenarios=plan)
    for number, scenario in enumerate(asked):
        if scenario.name in order.done:
            continue
        results.begin(scenario.name)
        if isinstance(scenario, Question):
            results.row(scenario.row(Path(order.package) if order.reached else None))
            continue
        folder = Path(order.folder) / f"scenario_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(scenario, RealModule):
            row = examine_module(scenario, driver, weights, order.seed, folder)
            results.row(row)
            # A real adapter has hundreds of modules.
            shutil.rmtree(folder)
        else:
            examine(scenario, driver, order.seed, folder, results.row)
    facts()
    results.finished()
    return 0


def _asked(order: Order, driver: Driver) -> Sequence[Scenario | RealModule | Question]:
    if isinstance(driver, HarnessDriver):
        return list(questions(Path(order.harness), driver.loading, order.seed))
    if order.adapter:
        return read_modules(Path(order.adapter), order.dtype)
    if order.ranks > 1:
        return sharded_scenarios(driver.layer_kinds, driver.capabilities, dtype=order.dtype)
    styles = getattr(driver, "file_styles", None)
    if order.matrix:
        return file_scenarios(styles)
    namings = {naming for layer in driver.model_layers for naming in layer.file_names}
    return scenarios(driver.layer_kinds, driver.capabilities, styles, sorted(namings), dtype=order.dtype)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=list))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Targets leave threads and process groups behind that can hang or crash the interpreter's own end.
    os._exit(status)
