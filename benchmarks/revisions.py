"""Processor time of two revisions: ``python benchmarks/revisions.py REVISION FOLDER_OR_FILE [...]``.

Lints each folder, or each file alone as a commit hook does, cold, with all rules, by the program as it was
in REVISION and by the one beside this
file, in turn, in this environment. Prints user and system time, time by the clock, peak memory, and the
number of processors and of tasks that wanted one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from commands import HOME, compiled, program


def timed(tree: Path, folder: Path, limit: float, environment: Mapping[str, str]) -> str:
    """One cold run of the program in ``tree``, in words."""
    command = program("--no-cache", "--quiet", str(folder), checkout=tree)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        run = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f} s by the clock"
    if run.returncode not in (0, 1, 2):  # 2: a file that nobody can read
        return f"failed: {run.stderr.decode()[-300:]}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    clock = time.perf_counter() - start
    return f"{used:8.2f} s, {clock:.0f} s by the clock, {after.ru_maxrss // 1024} MB at most so far"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revision")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER_OR_FILE")
    parser.add_argument("--limit", type=float, default=1200, help="seconds for one run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        before = Path(scratch) / "before"
        git = ["git", "-C", str(HOME), "archive", "--format=tar", options.revision]
        before.mkdir()
        archive = subprocess.run(git, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x", "-C", str(before)], input=archive, check=True)
        environment = compiled(Path(scratch) / "compiled", before, HOME)
        for folder in options.folders:
            for name, tree in ((options.revision, before), ("now", HOME)):
                busy = f"{os.getloadavg()[0]:.0f} tasks on {os.cpu_count()} processors"
                line = timed(tree, folder.absolute(), options.limit, environment)
                print(f"{folder.name:<20} {name:<10} {line}; {busy}", flush=True)


if __name__ == "__main__":
    main()
