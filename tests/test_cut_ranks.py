"""LS308: some ranks of a pair are kept, and the alpha of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FILE = """\
from safetensors.torch import load_file, save_file


def truncate(src, dst, rank):
    sd = load_file(src)
    out = {{}}
    for key, value in sd.items():
        if key.endswith("lora_down.weight"):
            out[key] = value[{down}].contiguous()
        elif key.endswith("lora_up.weight"):
            out[key] = value[{up}].contiguous()
        else:
            old = sd[key[: -len(".alpha")] + ".lora_down.weight"].shape[0]
            out[key] = {alpha}
    save_file(out, dst)
"""
PAIR = """\
class LoraPair:
    def __init__(self, lora_A, lora_B, alpha{more}):
        self.lora_A, self.lora_B, self.alpha = lora_A, lora_B, alpha

    def delta(self):
        return self.alpha / self.lora_A.shape[0] * (self.lora_B @ self.lora_A)

    def pruned(self, keep):
        index = self.lora_A.norm(dim=1).topk(keep).indices
        small = self.lora_A[index]
        return LoraPair(small, self.lora_B[{up}], {alpha})
"""


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (FILE.format(down=":rank", up=":, :rank", alpha="value"), 1),
        (FILE.format(down=":rank", up=":, :rank", alpha="value * rank / old"), 0),
        (FILE.format(down=":", up=":, :", alpha="value"), 0),
        (FILE.format(down=":rank", up=":, :", alpha="value"), 0),
        (PAIR.format(more="", up=":, index", alpha="self.alpha"), 1),
        (PAIR.format(more="", up=":, index", alpha="self.alpha * keep / self.lora_A.shape[0]"), 0),
        (PAIR.format(more=", rank=None", up=":, index", alpha="self.alpha, rank=self.lora_A.shape[0]"), 0),
        (PAIR.format(more="", up="index", alpha="self.alpha"), 0),
    ],
)
def test_some_of_the_ranks(source: str, count: int, tmp_path: Path) -> None:
    """A reader divides alpha by the rows that are left."""
    assert len(lint_files(tmp_path, {"lora_cut.py": source}, codes=["LS308"])) == count


JOINED = """\
import torch


def sum_loras(first, second, w1, w2):
    lora_A = torch.cat([first["A"], second["A"]], dim=0)
    lora_B = torch.cat([{one}w1 * first["B"], {two}w2 * second["B"]], dim=1)
    return {{"A": lora_A, "B": lora_B, "alpha": {alpha}}}
"""
SCALES = {
    "one": 'first["alpha"] / first["A"].shape[0] * ',
    "two": 'second["alpha"] / second["A"].shape[0] * ',
}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (JOINED.format(one="", two="", alpha='first["alpha"]'), 1),
        (JOINED.format(**SCALES, alpha="float(lora_A.shape[0])"), 0),
        (JOINED.format(one="", two="", alpha='first["alpha"] + second["alpha"]'), 0),
    ],
)
def test_a_record_of_two_adapters_with_the_alpha_of_one(source: str, count: int, tmp_path: Path) -> None:
    assert len(lint_files(tmp_path, {"lora_sum.py": source}, codes=["LS308"])) == count
