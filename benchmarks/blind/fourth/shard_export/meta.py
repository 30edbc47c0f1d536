"""Run description kept next to the sharded checkpoints."""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

NAME = "run_meta.json"


@dataclass
class AdapterMeta:
    rank: int
    alpha: float
    targets: list = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])
    dropout: float = 0.0


@dataclass
class RunMeta:
    base: str
    world_size: int
    adapter: AdapterMeta
    step: int = 0


def write(folder, meta: RunMeta):
    Path(folder, NAME).write_text(json.dumps(asdict(meta), indent=1))


def read(folder) -> dict:
    return json.loads(Path(folder, NAME).read_text())
