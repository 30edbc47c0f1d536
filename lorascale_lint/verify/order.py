"""What the parent asks of a child."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

# The exit status after a failed import; the reason is in the last event.
IMPORT_FAILED = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What the parent asks for. `done` are the scenarios that need not be run (again).

    `matrix`: only the kinds of adapter files are asked. `adapter` is a file or folder whose modules are asked
    instead of scenarios, `base` the weights that they belong to ("": random ones). `compiled`: forwards are
    run under `torch.compile`. `ranks` more than one: this many processes, started by torchrun, share a layer.
    `harness` is a file of descriptions (`harness.description`) that are run instead; with `reached` the rows
    that they execute are told.
    """

    factory: str
    package: str
    import_mode: str
    seed: int
    results: str
    folder: str
    done: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    matrix: bool = False
    adapter: str = ""
    base: str = ""
    compiled: bool = False
    ranks: int = 1
    harness: str = ""
    reached: bool = False

    @property
    def on_card(self) -> bool:
        """Is the device a graphics card?"""
        return self.device.startswith("cuda")

    def as_json(self) -> str:
        """For `read`."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> Order:
        """Read an order. Raises OSError, ValueError, TypeError."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**data, "done": tuple(data["done"])})
