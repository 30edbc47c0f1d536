"""Time and memory of `verify --adapter` on large layers: `python benchmarks/verify_large.py TREE...`.

Makes an adapter of rank 128 for 100 layers of 5120 x 5120 in bfloat16 (`--layers`, `--size`, `--dtype`), puts
it through the FastVideo in each TREE (on `--device`), and prints wall time, processor time (which other work
on the machine hardly changes), the load of the machine, the most memory that the child process held, what the
loader took for a layer beside what memory alone would take, and the verdicts.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import longcat_adapter

from lorascale_lint.verify.run import run_verify

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def processor_seconds() -> float:
    """What ended children have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure each tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE")
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--size", type=int, default=5120)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "large.safetensors"
        names = [f"blocks.{index}.to_q" for index in range(given.layers)]
        longcat_adapter.write(adapter, dict.fromkeys(names, (given.size, given.size)))
        for tree in given.trees:
            began, before = time.monotonic(), processor_seconds()
            report = run_verify(
                tree, seed=11, device=given.device, dtype=DTYPES[given.dtype], adapter=adapter
            )
            seconds = time.monotonic() - began
            # The largest of all children so far, so the first tree's figure is a bound for the second's.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            if report.problem is not None:
                print(f"{tree}: {report.problem.message}")
                continue
            verdicts = ", ".join(
                f"{count} {name}" for name, count in Counter(row.verdict.value for row in report.rows).items()
            )
            pace = ""
            if times := [(row.seconds, row.least_seconds) for row in report.rows if row.seconds]:
                taken, least = (statistics.median(each) for each in zip(*times, strict=True))
                pace = f"a layer {taken:.3g} s (median), memory alone {least:.2g} s; "
            print(
                f"{report.target.name} {report.target.version}, {report.target.framework}: "
                f"{given.layers} layers of {given.size} x {given.size} {given.dtype}: {seconds:.0f} s, "
                f"of the processor {processor_seconds() - before:.0f} s, peak {peak:.2f} GiB, "
                f"load {os.getloadavg()[0]:.1f}; {pace}{verdicts}",
                flush=True,
            )


if __name__ == "__main__":
    main()
