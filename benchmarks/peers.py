"""Speed beside other linters: ``python benchmarks/peers.py FOLDER [--rounds N] [--limit SECONDS]``.

Makes an environment with ruff, ast-grep, semgrep and torchfix, and runs each of them and lorascale-lint
over the folder in turn, round after round: ruff with all rules and without its cache, ast-grep and semgrep
with one pattern each, torchfix with its default rules, lorascale-lint with all rules, cold and warm. Prints
the median processor time of each, and how many times as long as the cold run of lorascale-lint it takes.

These tools answer other questions; they show how long people are used to wait for a check.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import compiled, program

PEERS = ("ruff==0.17.6", "ast-grep-cli==0.51.1", "semgrep==1.185.0", "torchfix==0.7.0")
PATTERN = "$W += $B @ $A"
SEMGREP_RULE = f"""\
rules:
- {{id: delta, languages: [python], severity: ERROR, message: a delta without a scale, pattern: {PATTERN}}}
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command without its folder; a ``cold`` one finds an empty cache."""

    name: str
    command: tuple[str, ...]
    cold: bool = False

    def seconds(self, folder: Path, cache: Path, limit: float, around: Mapping[str, str]) -> float:
        """User and system time of one run; infinite if it takes longer than ``limit`` by the clock."""
        if self.cold:
            shutil.rmtree(cache, ignore_errors=True)
        environment = {**around, "XDG_CACHE_HOME": str(cache)}
        start = _used()
        try:
            run = subprocess.run(
                [*self.command, str(folder)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return float("inf")
        if run.returncode not in (0, 1):  # 1: findings
            sys.exit(f"{self.name} failed with {run.returncode}:\n{run.stderr[-2000:]}")
        return _used() - start


def _used() -> float:
    """Processor time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tools(binaries: Path, rule: Path) -> tuple[Tool, ...]:
    """What is compared, ours first."""
    ours = tuple(program("--quiet"))
    ruff = (f"{binaries}/ruff", "check", "--no-cache", "--isolated", "--select=ALL", "--silent")
    ast_grep = (f"{binaries}/ast-grep", "run", "--lang", "python", "--pattern", PATTERN)
    semgrep = (f"{binaries}/semgrep", "scan", "--quiet", "--metrics=off", "--disable-version-check")
    return (
        Tool("lorascale-lint, cold", ours, cold=True),
        Tool("lorascale-lint, warm", ours),
        Tool("ruff, all rules", ruff),
        Tool("ast-grep, one pattern", ast_grep),
        Tool("semgrep, one rule", (*semgrep, "--no-git-ignore", "--config", str(rule))),
        Tool("torchfix, default rules", (f"{binaries}/torchfix",)),
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds for one run")
    parser.add_argument("--environment", type=Path, help="where the other tools are, or are to be, installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        environment: Path = options.environment or Path(scratch) / "environment"
        if not environment.exists():
            venv.create(environment, with_pip=True)
            subprocess.run([environment / "bin" / "pip", "install", "--quiet", *PEERS], check=True)
        rule = Path(scratch) / "rule.yaml"
        rule.write_text(SEMGREP_RULE)
        compared, around = tools(environment / "bin", rule), compiled(Path(scratch) / "compiled")
        times: dict[str, list[float]] = {tool.name: [] for tool in compared}
        for _ in range(options.rounds):
            for tool in compared:
                if float("inf") not in times[tool.name]:
                    times[tool.name].append(
                        tool.seconds(options.folder, Path(scratch) / "cache", options.limit, around)
                    )
    unit = statistics.median(times[compared[0].name])
    print(f"{options.folder.name}: median of {options.rounds} rounds")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        if float("inf") in seconds:
            print(f"{name:<25} over {options.limit:.0f} s    over {options.limit / unit:.1f}x")
        else:
            print(f"{name:<25} {median:8.2f} s {median / unit:8.2f}x")


if __name__ == "__main__":
    main()
