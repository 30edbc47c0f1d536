"""``--costs``: the processor time of each file of tests, that of the processes that they start included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator

import pytest

_KEY = "processor seconds"
_SHOWN = 25
_before = [0.0]
_costs: defaultdict[str, float] = defaultdict(float)


def spent() -> float:
    """Processor seconds of this process and of all that it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Each report of a test carries what was spent since the one before."""
    report = yield
    now = spent()
    if item.config.getoption("costs") and _before[0]:
        report.user_properties = [(_KEY, now - _before[0])]
    _before[0] = now
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what reports say, in the process that hears of all."""
    for name, seconds in report.user_properties:
        if name == _KEY and isinstance(seconds, float):
            _costs[report.nodeid.partition("::")[0]] += seconds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The dearest files first."""
    if not config.getoption("costs"):
        return
    terminalreporter.section("processor time of tests, collecting them left out")
    terminalreporter.write_line(f"{sum(_costs.values()):8.1f} s all")
    for name, seconds in sorted(_costs.items(), key=lambda item: -item[1])[:_SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f} s {name}")
