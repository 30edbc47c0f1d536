"""Does time grow with the code, and no faster? ``python benchmarks/growth.py FOLDER [--copies 1 4 16]``.

Lints one, four and sixteen copies of a folder beside each other, cold, with all rules, and prints processor
time and peak memory of each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def used(folder: Path) -> tuple[float, int]:
    """Processor seconds and megabytes of one run."""
    command = [sys.executable, "-m", "lorascale_lint", "--no-cache", "--quiet", str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} failed with {run.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    for copies in options.copies:
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(copies):
                shutil.copytree(options.folder, Path(scratch) / f"copy{number}")
            seconds, megabytes = used(Path(scratch))
        print(f"{copies:3} x {options.folder.name}: {seconds:6.1f} s, {megabytes} MB", flush=True)


if __name__ == "__main__":
    main()
