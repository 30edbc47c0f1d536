"""Does time grow with the code, and no faster? ``python benchmarks/growth.py FOLDER [--copies 1 4 16]``.

Lints one, four and sixteen copies of a folder beside each other, cold, with all rules, and prints processor
time and peak memory of each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from commands import Cost, compiled, program


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    for copies in options.copies:
        with tempfile.TemporaryDirectory() as scratch:
            environment, whole = compiled(Path(scratch) / "compiled"), Path(scratch) / "whole"
            for number in range(copies):
                shutil.copytree(options.folder, whole / f"copy{number}")
            cost = Cost.of(program("--no-cache", "--quiet", str(whole)), environment)
        if cost.exit_code not in (0, 1):
            sys.exit(f"the check failed with {cost.exit_code}")
        print(f"{copies:3} x {options.folder.name}: {cost.busy:6.1f} s, {cost.megabytes:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
