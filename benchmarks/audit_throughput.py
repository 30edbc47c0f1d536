"""How fast is `audit`? `python benchmarks/audit_throughput.py [--gigabytes 8] [--rank 16]` (16 GB of disk).

Makes a checkpoint of the shapes of a 7B model in a temporary folder (bfloat16, 4 shards), an adapter for all
of its linear layers and their right merge, audits them, reads the same files with safetensors alone, and
removes everything. Both are done with the files dropped from the page cache, and again as they then lie in
it. Exits 1 if the audit is slower than half the rate of reading, needs 2 GB of memory, or blames the merge.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

HIDDEN, INNER, VOCABULARY = 4096, 11008, 32000
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
SHARDS = 4
ALPHA_OVER_RANK = 2.0
READ = """
import sys, time
from safetensors import safe_open
start, count = time.perf_counter(), 0
for path in sys.argv[1:]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():
            # get_tensor alone only maps the file: the copy is what reads it.
            count += file.get_tensor(name).clone().nbytes
print(count / (time.perf_counter() - start))
"""


def shapes(gigabytes: float) -> dict[str, tuple[int, ...]]:
    """Names and shapes of as many layers as fill a checkpoint."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    layer = 0
    while 2 * sum(int(np.prod(shape)) for shape in found.values()) < gigabytes * 1e9:
        for name, shape in LINEAR.items():
            found[f"model.layers.{layer}.{name}.weight"] = shape
        found[f"model.layers.{layer}.input_layernorm.weight"] = (HIDDEN,)
        layer += 1
    return found


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def rows_of(
    name: str, shape: tuple[int, ...], adapter: dict[str, NDArray[np.float32]], pool: NDArray[np.uint16]
):
    """The bytes of a tensor in base and merged checkpoint, some rows at a time."""
    width = shape[-1]
    height = shape[0] if len(shape) > 1 else 1
    key = f"base_model.model.{name.removesuffix('.weight')}"
    for first in range(0, height, 512):
        count = min(512, height - first) * width
        start = (first * 7919) % (len(pool) - count)
        base = pool[start : start + count]
        merged = base
        if f"{key}.lora_A.weight" in adapter:
            b, a = adapter[f"{key}.lora_B.weight"][first : first + 512], adapter[f"{key}.lora_A.weight"]
            wide = (base.astype(np.uint32) << 16).view(np.float32)
            merged = bfloat16(wide + (b @ a).ravel() * np.float32(ALPHA_OVER_RANK))
        yield base, merged


def make(folder: Path, gigabytes: float, rank: int) -> None:
    """Write base, merged and adapter."""
    random = np.random.default_rng(0)
    tensors = shapes(gigabytes)
    adapter: dict[str, NDArray[np.float32]] = {}
    for name, shape in tensors.items():
        if any(name.endswith(f"{linear}.weight") for linear in LINEAR):
            key = f"base_model.model.{name.removesuffix('.weight')}"
            adapter[f"{key}.lora_A.weight"] = random.normal(0, 0.02, (rank, shape[1])).astype(np.float32)
            adapter[f"{key}.lora_B.weight"] = random.normal(0, 0.02, (shape[0], rank)).astype(np.float32)
    for name in ("base", "merged", "adapter"):
        (folder / name).mkdir()
    save_file(adapter, folder / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": ALPHA_OVER_RANK * rank}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    pool = bfloat16(random.normal(0, 0.02, 40_000_000).astype(np.float32))
    names = list(tensors)
    index: dict[str, str] = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        held = names[shard::SHARDS]
        index |= dict.fromkeys(held, file)
        header, end = {}, 0
        for name in held:
            size = 2 * int(np.prod(tensors[name]))
            header[name] = {"dtype": "BF16", "shape": tensors[name], "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / "base" / file).open("wb") as base, (folder / "merged" / file).open("wb") as merged:
            for out in (base, merged):
                out.write(len(text).to_bytes(8, "little") + text)
            for name in held:
                for before, after in rows_of(name, tensors[name], adapter, pool):
                    base.write(before.data)
                    merged.write(after.data)
            for out in (base, merged):
                out.flush()
                os.fsync(out.fileno())
    for name in ("base", "merged"):
        (folder / name / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def files(folder: Path) -> Iterator[Path]:
    """The shards of both checkpoints."""
    for name in ("base", "merged"):
        yield from sorted((folder / name).glob("*.safetensors"))


def drop(folder: Path) -> None:
    """Take the files out of the page cache."""
    for path in files(folder):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(folder: Path) -> float:
    """The share of the files that lies in the page cache."""
    command = ["fincore", "--bytes", "--json", *map(str, files(folder))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["fincore"]
    return sum(int(item["res"]) for item in found) / sum(int(item["size"]) for item in found)


def read_rate(folder: Path) -> float:
    """Bytes per second of safetensors alone, in a process of its own."""
    command = [sys.executable, "-c", READ, *map(str, files(folder))]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def audit_rate(folder: Path) -> tuple[float, int, str]:
    """Bytes per second of the command as it is typed, its peak memory in bytes and its last lines."""
    command = [sys.executable, "-m", "lorascale_lint", "audit"]
    for name in ("base", "adapter", "merged"):
        command += [f"--{name}", str(folder / name)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        text = child.stdout.read()
        # The usage of this child alone, unlike RUSAGE_CHILDREN.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    lines = text.splitlines()
    if child.returncode != 0:
        sys.exit(f"the audit of a right merge exited with {child.returncode}:\n{text}")
    size = sum(path.stat().st_size for path in files(folder))
    return size / seconds, _peak(usage), lines[-2]


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * 1024


def main() -> int:
    """Make, measure, remove; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        make(folder, options.gigabytes, options.rank)
        size = sum(path.stat().st_size for path in files(folder))
        print(
            f"made {size / 1e9:.1f} GB in {SHARDS} + {SHARDS} shards in {time.perf_counter() - start:.0f} s"
        )
        ratios = []
        for cold in (True, False):
            # In turns, so that what else the machine does meets both.
            for _ in range(options.rounds):
                rates = []
                for measure in (read_rate, audit_rate):
                    if cold:
                        drop(folder)
                    share = cached(folder)
                    found = measure(folder)
                    rate, peak, line = found if isinstance(found, tuple) else (found, 0, "")
                    rates.append(rate)
                    title = "audit" if line else "safetensors alone"
                    memory = f", peak memory {peak / 1e9:.2f} GB; {line}" if line else ""
                    print(
                        f"{share:4.0%} in the page cache: {title} {rate / 1e9:.2f} GB/s{memory}", flush=True
                    )
                    if peak > 2e9:
                        return 1
                ratios.append(rates[1] / rates[0])
                print(f"  audit / reading: {ratios[-1]:.2f}")
    return 0 if min(ratios) >= 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
