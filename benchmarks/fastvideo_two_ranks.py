"""FastVideo's sharded branch on two ranks: `python benchmarks/fastvideo_two_ranks.py TREE`.

Starts itself twice by `torchrun` (gloo, no accelerator), wraps a real linear layer whose weight FSDP has
sharded, gives it an adapter of alpha 4 and rank 8, and prints the measured scales as one JSON object: merged,
after an unmerge, merged again, and in the unmerged forward.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ALPHA, RANK, SHAPE = 4.0, 8, (96, 40)
STEPS = ("merged", "unmerged", "merged again", "unmerged forward")
TIMEOUT = 180.0


def measure(tree: Path) -> dict[str, float | str]:
    """Scale by step, or why there is none. Parent process: imports no torch."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "scales.jsonl"
        results.touch()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "TORCHDYNAMO_DISABLE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            ended = subprocess.run(
                [*command, __file__, str(tree), str(results)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            ending = f"exit status {ended.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"no answer within {TIMEOUT:g} s"
        found: dict[str, float | str] = {}
        for line in results.read_text().splitlines():
            found.update(json.loads(line))
    return {step: found.get(step, found.get("error", ending)) for step in STEPS}


def rank(tree: Path, results: Path) -> None:
    """One of the two processes."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import DTensor

    from lorascale_lint.verify.drivers import fastvideo
    from lorascale_lint.verify.reference import fit

    me = int(os.environ["RANK"])

    class TwoRanks(fastvideo._Importer):
        def _start_process_group(self) -> None:
            torch.distributed.init_process_group("gloo")
            state = self._import("distributed.parallel_state")
            start = state.init_distributed_environment
            backend = {"backend": "gloo"} if "backend" in inspect.signature(start).parameters else {}
            start(world_size=2, rank=me, local_rank=me, **backend)
            state.initialize_model_parallel(1, 2)

        def _separate_backups(self) -> None:
            pass  # a shard and the gathered weight share no memory

    def note(**values: float | str) -> None:
        if me == 0:
            with results.open("a") as file:
                file.write(json.dumps(values) + "\n")

    generator = np.random.default_rng(1)
    weight = generator.standard_normal(SHAPE)
    a, b = generator.standard_normal((RANK, SHAPE[1])), generator.standard_normal((SHAPE[0], RANK))
    inputs = generator.standard_normal((7, SHAPE[1]))

    def tensor(values: Any) -> Any:
        return torch.from_numpy(values).to(torch.float32)

    package = tree / "fastvideo"
    importer = TwoRanks(package, "full")
    if importer.prefix != "fastvideo":
        importer = TwoRanks(package, "lean")
    importer.run()
    importer._import("utils").set_mixed_precision_policy(
        torch.float32, torch.float32, None, MixedPrecisionPolicy()
    )
    base = importer.layers.ReplicatedLinear(SHAPE[1], SHAPE[0], bias=True, params_dtype=torch.float32)
    with torch.no_grad():
        base.weight.copy_(tensor(weight))
        base.bias.zero_()
    fully_shard(base, mesh=init_device_mesh("cpu", (2,)))
    layer = importer.linear.get_lora_layer(base)
    driver = fastvideo.FastVideoDriver(importer)
    told = {driver._alpha_keyword: ALPHA} if driver._alpha_keyword else {}

    def scale_of_weight() -> float:
        held = layer.base_layer.weight
        full = held.full_tensor() if isinstance(held, DTensor) else held
        return fit(full.detach().double().numpy() - weight.astype(np.float32), [b @ a]).scales[0]

    def merged() -> float:
        layer.set_lora_weights(tensor(a), tensor(b), **told)
        return scale_of_weight()

    def unmerged() -> float:
        layer.unmerge_lora_weights()
        return scale_of_weight()

    def again() -> float:
        layer.merge_lora_weights()
        return scale_of_weight()

    def forward() -> float:
        layer.unmerge_lora_weights()
        with torch.no_grad():
            output, extra = layer(tensor(inputs))
        change = (output if extra is None else output + extra).double().numpy() - inputs @ weight.T
        found = fit(change, [inputs @ (b @ a).T])
        if found.residual > 1e-4:
            raise ValueError(f"wrong direction, residual {found.residual:.2g}")
        return found.scales[0]

    for step, act in zip(STEPS, (merged, unmerged, again, forward), strict=True):
        try:
            note(**{step: act()})
        except Exception as error:
            note(**{step: f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"})
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    if "RANK" in os.environ:
        rank(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        print(json.dumps(measure(Path(sys.argv[1]).resolve())))
