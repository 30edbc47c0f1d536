"""Checkpoint files: one tensor file and one small JSON per step."""
import json
from pathlib import Path

import torch
import torch.distributed as dist


def save(folder, step, state, meta):
    if dist.is_initialized() and dist.get_rank() != 0:
        return
    path = Path(folder) / f"step_{step:07d}"
    path.mkdir(parents=True, exist_ok=True)
    torch.save(state, path / "lora.pt")
    (path / "meta.json").write_text(json.dumps({"step": step, **meta}))


def latest(folder):
    found = sorted(Path(folder).glob("step_*"))
    return found[-1] if found else None


def load(path):
    state = torch.load(path / "lora.pt", map_location="cpu", weights_only=True)
    return state, json.loads((path / "meta.json").read_text())
