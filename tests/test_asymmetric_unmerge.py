"""LS109: merges that are not taken back, and inverses that only look different."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_alpha = lora_alpha
        self.lora_rank = lora_rank
        self.scaling = lora_alpha / lora_rank

    def lora_delta(self):
        return self.lora_B @ self.lora_A * self.scaling
"""
MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_delta()
"""

ASYMMETRIC = {
    "strength on the merge alone": """
    def merge(self, strength=1.0):
        self.base_layer.weight.data += self.lora_delta() * strength

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta()
""",
    "another formula": """
    def merge(self):
        self.base_layer.weight.data.add_(self.lora_B @ self.lora_A, alpha=self.lora_alpha / self.lora_rank)

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_B @ self.lora_A * (self.lora_alpha / self.lora_rank**0.5)
""",
    "transposed in one branch of one method": """
    def train(self, mode=True):
        if mode:
            self.base_layer.weight.data -= self.lora_delta().T
        else:
            self.base_layer.weight.data += self.lora_delta()
""",
    "added again": MERGE
    + """
    def unmerge(self):
        self.base_layer.weight.data += self.lora_delta()
""",
    "subtraction dropped": MERGE
    + """
    def unmerge(self):
        self.base_layer.weight.data.sub(self.lora_delta())
""",
    "subtraction bound and dropped": MERGE
    + """
    def unmerge(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        self.merged = False
""",
    "helper's result dropped": """
    def compose(self, weight, delta):
        return weight + delta * self.scaling

    def decompose(self, weight, delta):
        return weight - delta * self.scaling

    def reset_adapter(self):
        self.decompose(self.base_layer.weight.data, self.lora_B @ self.lora_A)
        self.merged = False
""",
    "result of an object of unknown class dropped": """
    def compose(self, weight, delta):
        return weight + delta * self.scaling

    def com_inv(self, weight, delta):
        return weight - delta * self.scaling


class IA3(nn.Module):
    def com_inv(self, weight, delta):
        return weight / delta


class LoRAHolder(nn.Module):
    def reset_adapter(self):
        lora = self.loras[self.merged]
        lora.com_inv(self.weight.data, lora.lora_delta())
        self.merged = None
""",
    "backup that is no copy": """
    def merge(self):
        self.backup = self.base_layer.weight.data
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "backup of a method before": """
    def keep_before_lora(self):
        self.saved = self.base_layer.weight.detach()

    def fuse(self):
        self.base_layer.weight.data.add_(self.lora_delta())

    def unfuse(self):
        self.base_layer.weight.data.copy_(self.saved)
""",
    "two functions of one file": """

def merge_lora(layer, lora_A, lora_B, lora_alpha, rank):
    layer.weight.data += lora_B @ lora_A * (lora_alpha / rank)


def unmerge_lora(layer, lora_A, lora_B, lora_alpha, rank):
    layer.weight.data -= lora_B @ lora_A * (lora_alpha / rank**0.5)
""",
}

SYMMETRIC = {
    "the same scale by another name": """
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A * (self.lora_alpha / self.lora_rank)

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta()
""",
    "transposed on both sides by a flag": """
    def turned(self, weight):
        return weight.T if self.fan_in_fan_out else weight

    def merge(self):
        self.base_layer.weight.data += self.turned(self.lora_delta())

    def unmerge(self):
        self.base_layer.weight.data -= self.turned(self.lora_delta())
""",
    "the strength that the merge kept": """
    def merge(self, strength=1.0):
        self.strength = strength
        self.base_layer.weight.data += self.lora_delta() * strength

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta() * self.strength
""",
    "a copy": """
    def merge(self):
        self.backup = self.base_layer.weight.data.clone()
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "a merge that makes a new tensor": """
    def merge(self):
        self.backup = self.base_layer.weight.data
        self.base_layer.weight.data = self.base_layer.weight.data + self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "a difference that is checked": MERGE
    + """
    def unmerge(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        if not torch.isfinite(weight).all():
            raise ValueError("not finite")
        self.base_layer.weight.data = weight
""",
    "a difference that is returned": MERGE
    + """
    def unmerged_weight(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        return {"weight": weight}
""",
    "a helper that works in place": """
    def take_back(self, weight, delta):
        weight.sub_(delta)
        return weight - 0

    def unmerge(self):
        self.take_back(self.base_layer.weight.data, self.lora_delta())
""",
    "a result that is stored": """
    def com_inv(self, weight, delta):
        return weight - delta * self.scaling


class LoRAHolder(nn.Module):
    def reset_adapter(self):
        lora = self.loras[self.merged]
        self.weight.data = lora.com_inv(self.weight.data, lora.lora_delta())
        self.merged = None
""",
    "a helper that tests and is tested": """
    def fits(self, need, more):
        return self.free >= need + more

    def merge_into(self, folder, need, more):
        if not self.fits(need, more):
            return None
        return folder
""",
    "a helper whose sum is tested": """
    def left(self, weight, delta):
        return weight - delta

    def unmerge(self):
        while self.left(self.base_layer.weight.data, self.lora_delta()):
            break
""",
    "an in-place sum of a local": """
    def unmerge(self):
        weight = self.base_layer.weight.data
        weight -= self.lora_delta()
""",
    "merge of another weight": """
    def merge(self):
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight_t.data -= self.lora_delta().T
""",
    "an unmerge by a negative strength": """
    def merge(self, sign=1):
        self.base_layer.weight.data += sign * self.lora_delta()

    def unmerge(self):
        self.merge(sign=-1)
""",
}

KEPT = """\
def fuse_lora(layer, name, lora_A, lora_B, lora_alpha, rank, multiplier=1.0):
    layer.weight.data += lora_B @ lora_A * (lora_alpha / rank * multiplier)
    KEEP


def unfuse_lora(layer, name, lora_A, lora_B, lora_alpha, rank):
    layer.weight.data -= lora_B @ lora_A * READ
"""
"""A merge that keeps what it added at, and the unmerge that reads it."""

KEPT_RIGHT = {
    "in a table": ("layer.scaling[name] = lora_alpha / rank * multiplier", "layer.scaling[name]"),
    "in a field": ("layer.scaling = lora_alpha / rank * multiplier", "layer.scaling"),
    "in a table of a part": (
        "layer.parts[0].scaling[name] = multiplier * lora_alpha / rank",
        "layer.parts[0].scaling[name]",
    ),
}
KEPT_PART = """\
def fuse_lora(self, state_dict, name, lora_scale=1.0, alpha=None, rank=None):
    if isinstance(self, DualModule):
        self = self._torch_module
    if isinstance(self, PatchedProjection):
        self = self.regular_layer
    if not hasattr(self, "adapter_names"):
        start(self)
    down, up = state_dict["lora.down.weight"], state_dict["lora.up.weight"]
    if alpha is None:
        alpha = rank
    self.lora_A[name], self.lora_B[name] = down, up
    self.scaling[name] = KEEP
    self.weight.data.copy_(self.weight.data + (up @ down) * (lora_scale * alpha / rank))


def start(self):
    self.adapter_names, self.lora_A, self.lora_B, self.scaling = set(), {}, {}, {}


def _unfuse_lora(self, names):
    if isinstance(self, DualModule):
        self = self._torch_module
    if isinstance(self, PatchedProjection):
        self = self.regular_layer
    delta = None
    for name in names:
        down, up = self.lora_A[name], self.lora_B[name]
        if delta is None:
            delta = (up @ down) * self.scaling[name]
        else:
            delta += (up @ down) * self.scaling[name]
    if delta is not None:
        self.weight.data -= delta
"""
"""Both sides take a part of some layers, so that the table read is one of several."""

KEPT_WRONG = {
    "without the strength": ("layer.scaling[name] = lora_alpha / rank", "layer.scaling[name]"),
    "by another formula": ("layer.scaling = lora_alpha / rank**0.5 * multiplier", "layer.scaling"),
    "and multiplied again": (
        "layer.scaling = lora_alpha / rank * multiplier",
        "layer.scaling * (lora_alpha / rank)",
    ),
    "under another name": ("layer.lora_scaling = lora_alpha / rank * multiplier", "layer.scaling"),
}


@pytest.mark.parametrize("name", KEPT_RIGHT)
def test_a_kept_scale_is_what_was_added(name: str, tmp_path: Path) -> None:
    keep, read = KEPT_RIGHT[name]
    source = KEPT.replace("KEEP", keep).replace("READ", read)
    assert lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"]) == ()


@pytest.mark.parametrize("name", KEPT_WRONG)
def test_a_kept_scale_is_another(name: str, tmp_path: Path) -> None:
    keep, read = KEPT_WRONG[name]
    source = KEPT.replace("KEEP", keep).replace("READ", read)
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"])
    assert [finding.code for finding in found] == ["LS109"]


@pytest.mark.parametrize(("keep", "codes"), [("lora_scale * alpha / rank", []), ("alpha / rank", ["LS109"])])
def test_a_scale_kept_in_a_part_of_some_layers(keep: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": KEPT_PART.replace("KEEP", keep)}, codes=["LS109"])
    assert [finding.code for finding in found] == codes


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_asymmetric(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + ASYMMETRIC[name]}, codes=["LS109"])
    assert [finding.code for finding in found] == ["LS109"]
    assert len(found[0].trace) >= 2


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": LAYER + SYMMETRIC[name]}, codes=["LS109"]) == ()


def test_one_mechanism_one_finding(tmp_path: Path) -> None:
    """An unmerge without the trained scale of its sibling is LS101's."""
    unmerge = "\n    def unmerge(self):\n        self.base_layer.weight.data -= self.lora_B @ self.lora_A\n"
    source = LAYER + MERGE + unmerge
    assert [finding.code for finding in lint_files(tmp_path, {"lora_layer.py": source})] == ["LS101"]


DATA = "self.base_layer.weight.data"
REPAIRED = {
    "added again": None,
    "subtraction dropped": (f"{DATA}.sub(", f"{DATA} = {DATA}.sub("),
    "subtraction bound and dropped": (f"weight = {DATA} -", f"{DATA} = {DATA} -"),
    "helper's result dropped": ("self.decompose(self.base", f"{DATA} = self.decompose(self.base"),
    "result of an object of unknown class dropped": (
        "lora.com_inv(self.weight",
        "self.weight.data = lora.com_inv(self.weight",
    ),
    "backup that is no copy": (f"backup = {DATA}\n", f"backup = {DATA}.clone()\n"),
    "backup of a method before": (".detach()\n", ".detach().clone()\n"),
}
BACKUP_OF_CONSTRUCTOR = """
    def keep(self):
        self.backup = self.base_layer.weight.data

    def merge(self):
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
"""
EMBEDDING = """\
import torch
from torch import nn


class LoRAEmbedding(nn.Embedding):
    def __init__(self, lora_A, lora_B, lora_alpha, rank):
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scaling = lora_alpha / rank

    def merge(self):
        self.weight.data += (self.lora_B @ self.lora_A) * self.scaling

    def unmerge(self):
        self.weight.data -= (self.lora_B @ self.lora_A).T * self.scaling
"""


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(name: str, tmp_path: Path) -> None:
    source, change = LAYER + ASYMMETRIC[name], REPAIRED[name]
    (finding,) = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"])
    assert finding.fix is not None
    assert finding.fix.applicability == "unsafe"
    texts, left = fix_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"], unsafe=True)
    if change is None:
        assert texts["lora_layer.py"].count("-=") == source.count("-=") + 1
    else:
        assert texts == {"lora_layer.py": source.replace(*change)}
    assert [item.code for item in left if item.code == "LS109"] == []


@pytest.mark.parametrize(
    "name", ["strength on the merge alone", "another formula", "transposed in one branch of one method"]
)
def test_not_repaired(name: str, tmp_path: Path) -> None:
    """Either side may be the wrong one."""
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + ASYMMETRIC[name]}, codes=["LS109"])
    assert [item.fix for item in found] == [None]


def test_what_is_put_back_is_copied_too_if_it_is_put_back_again(tmp_path: Path) -> None:
    source = LAYER + BACKUP_OF_CONSTRUCTOR
    texts, left = fix_files(tmp_path, {"lora_layer.py": source}, unsafe=True)
    expected = source.replace(f"backup = {DATA}\n", f"backup = {DATA}.clone()\n")
    assert texts == {"lora_layer.py": expected.replace("= self.backup\n", "= self.backup.clone()\n")}
    assert left == ()


def test_a_parameter_gets_its_data(tmp_path: Path) -> None:
    source = (
        LAYER + MERGE + "\n    def unmerge(self):\n        w = self.base_layer.weight - self.lora_delta()\n"
    )
    texts, left = fix_files(tmp_path, {"lora_layer.py": source}, unsafe=True)
    line = f"        {DATA} = self.base_layer.weight - self.lora_delta()\n"
    assert texts == {
        "lora_layer.py": source.replace("        w = self.base_layer.weight - self.lora_delta()\n", line)
    }
    assert left == ()


@pytest.mark.parametrize("turn", [".T", ".t()", ".transpose(0, 1)"])
def test_an_embedding_is_transposed_on_both_sides(turn: str, tmp_path: Path) -> None:
    source = EMBEDDING.replace(".T *", f"{turn} *")
    texts, left = fix_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"], unsafe=True)
    assert texts == {"lora_layer.py": source.replace("lora_A) *", f"lora_A){turn} *", 1)}
    assert left == ()


def test_a_linear_layer_is_not_transposed(tmp_path: Path) -> None:
    source = EMBEDDING.replace("nn.Embedding", "nn.Linear")
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS109"])
    assert [item.fix for item in found] == [None]


SET_BEFORE = """\
import torch


def without_dora(weight, delta, magnitude, norm):
    return weight * norm / magnitude - delta


class LoRALinear(torch.nn.Linear):
    def copy_from(self, module):
        self.weight = module.weight

    def merge(self, name):
        lora = self.loras[name]
        if lora.use_dora:
            self.weight.data = with_dora(self.weight.data, lora.delta_w, lora.m)
        else:
            self.weight.data = lora.com(self.weight.data, lora.delta_w)

    def reset(self, name):
        lora = self.loras[name]
        if lora.use_dora:
            {target} = without_dora(self.weight.data, lora.delta_w, lora.m, lora.norm)
        else:
            self.weight.data = lora.com_inv(self.weight.data, lora.delta_w)
"""


@pytest.mark.parametrize(
    ("target", "expected"), [("restored", ["LS109"]), ("delta_w", ["LS109"]), ("self.weight.data", [])]
)
def test_dropped_though_other_methods_set_the_weight(
    target: str, expected: list[str], tmp_path: Path
) -> None:
    findings = lint_files(tmp_path, {"lora.py": SET_BEFORE.format(target=target)}, codes=["LS109"])
    assert [finding.code for finding in findings] == expected


PATCHER = """\
class LoraPatcher:
    def __init__(self, model):
        self.model, self.saved = model, {{}}

    def on(self, table, weight):
        {first}
        for name, (a, b, alpha) in table.items():
            p = self.model.get_parameter(name)
            {saves}
            {merge}

    def off(self):
        for name, kept in self.saved.items():
            self.model.get_parameter(name).data.copy_(kept)
        self.saved.clear()
"""
SAVES = "self.saved[name] = p.data.clone()"
ADDS = "p.data += weight * alpha / a.shape[0] * (b @ a)"
COPIES = "p.copy_((p.float() + weight * alpha / a.shape[0] * (b @ a)).to(p.dtype))"
TWICE = """

def gallery(patcher: LoraPatcher, tables, render):
    for table in tables:
        patcher.on(table, 1.0)
        render(patcher.model)
        {after}
    patcher.off()
"""


@pytest.mark.parametrize(
    ("first", "saves", "merge", "caller", "expected"),
    [
        ("pass", SAVES, ADDS, "", ["medium"]),
        ("pass", SAVES, COPIES, "", ["medium"]),
        ("pass", SAVES, COPIES, TWICE.format(after="pass"), ["high"]),
        ("pass", SAVES, ADDS, TWICE.format(after="patcher.off()"), []),
        ("self.off()", SAVES, ADDS, "", []),
        ("pass", f"if name not in self.saved:\n                {SAVES}", ADDS, "", []),
        ("pass", SAVES, "print(weight * alpha / a.shape[0] * (b @ a) + p)", "", []),
    ],
)
def test_a_backup_that_a_second_adapter_overwrites(
    first: str, saves: str, merge: str, caller: str, expected: list[str], tmp_path: Path
) -> None:
    """What is saved for a second adapter holds the first one, unless that was taken out before."""
    source = PATCHER.format(first=first, saves=saves, merge=merge) + caller
    found = lint_files(tmp_path, {"lora_patcher.py": source}, codes=["LS109"])
    assert [item.confidence for item in found] == expected
