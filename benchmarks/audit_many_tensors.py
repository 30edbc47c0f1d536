"""A million tiny tensors: `python benchmarks/audit_many_tensors.py [--tensors 1000000]`.

Makes a checkpoint of that many tensors of one number, an adapter of as many for a third of it and their right
merge; shows the seconds, the processor seconds and the peak memory of `inspect`, `inspect --format html`,
`inspect --rewrite-to` and
`audit`, each a process of its own, for that number and for a quarter of it: what is linear takes four times
as long. Exits 1 if a command fails, or takes more than eight times as long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.commands import Cost, program

_MOST = 8.0


def make(folder: Path, count: int) -> None:
    """Base, adapter and merged checkpoint; the adapter is of rank 1, with an alpha for each module."""
    folder.mkdir()
    ones = {name: np.full(shape, 2, np.float32) for name, shape in (("a", (1, 1)), ("number", ()))}
    modules = [f"m.{number}.q" for number in range(count)]
    save_file({f"{name}.weight": ones["a"] for name in modules}, folder / "base.safetensors")
    adapted = modules[: count // 3]
    factors = {f"{name}.{role}": ones["a"] for name in adapted for role in ("lora_A.weight", "lora_B.weight")}
    save_file(factors | {f"{name}.alpha": ones["number"] for name in adapted}, folder / "adapter.safetensors")
    merged = {f"{name}.weight": ones["a"] for name in modules}
    # Base 2, factors 2, alpha 2 over rank 1: 2 + 2 * 4.
    save_file(merged | {f"{name}.weight": 5 * ones["a"] for name in adapted}, folder / "merged.safetensors")


def main() -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=int, default=1_000_000)
    most: int = parser.parse_args().tensors
    failed = False
    with tempfile.TemporaryDirectory() as name:
        before: dict[str, float] = {}
        for count in (most // 4, most):
            folder = Path(name) / str(count)
            make(folder, count)
            base, adapter, merged = (
                str(folder / f"{it}.safetensors") for it in ("base", "adapter", "merged")
            )
            for title, arguments in {
                "inspect": ["inspect", adapter],
                "inspect --format html": ["inspect", "--format", "html", adapter],
                "inspect --rewrite-to": ["inspect", adapter, "--rewrite-to", "peft", str(folder / "peft")],
                "audit": ["audit", "--base", base, "--adapter", adapter, "--merged", merged],
            }.items():
                cost = Cost.of(program(*arguments))
                ratio = cost.busy / before.get(title, cost.busy)
                before[title] = cost.busy
                failed |= cost.exit_code != 0 or ratio > _MOST
                took = f"{cost.seconds:.1f} s, {cost.busy:.1f} s of processors ({ratio:.1f}x)"
                memory = f"{cost.megabytes / 1000:.2f} GB"
                print(f"{count:>8} tensors, {title}: {took}, {memory}, exit {cost.exit_code}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
