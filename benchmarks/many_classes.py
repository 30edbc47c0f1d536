"""Cost of a run by the findings in one file: ``python benchmarks/many_classes.py [60 200 ...]``.

Writes a file of so many small LoRA classes, each with one finding and its repair, lints it in a process of
its own, and prints the processor time of that process beside the number.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_CLASS = """

class LoRALinear{number}(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.merged = False

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * (self.alpha / self.rank)

    def merge(self):
        self.base.weight.data += self.lora_B @ self.lora_A
        self.merged = True
"""


def seconds(classes: int) -> tuple[float, int]:
    """Processor seconds of one run without a cache, and its findings."""
    with tempfile.TemporaryDirectory() as folder:
        source = "import torch\nfrom torch import nn\n" + "".join(
            _CLASS.replace("{number}", str(number)) for number in range(classes)
        )
        Path(folder, "lora_layers.py").write_text(source)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "lorascale_lint", "--no-cache", "--output-format=concise", "-q", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = done.stdout.count("[*] unscaled-merge")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


if __name__ == "__main__":
    for count in map(int, sys.argv[1:] or ["60", "200"]):
        spent, found = seconds(count)
        print(f"{count} classes: {spent:.1f} s of processor time, {found} findings with a repair")
