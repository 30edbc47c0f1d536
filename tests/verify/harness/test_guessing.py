"""What the child finds out by itself: sizes, fused layers, devices, models, by trying what fits."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.report import VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

pytest.importorskip("torch")

HEAD = "import math\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n"

SIZES = """
class Pair(nn.Module):
    def __init__(self, k_in, k_out, rank, lora_alpha):
        super().__init__()
        self.weight = nn.Linear(k_in, k_out)
        self.lora_A = nn.Parameter(torch.randn(rank, k_in))
        self.lora_B = nn.Parameter(torch.zeros(k_out, rank))
        self.gain = lora_alpha / rank

    def forward(self, x):
        return self.weight(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.gain
"""
ONE_SIZE = """
class Square(nn.Module):
    def __init__(self, d_model: int, n_heads: int, rank: int, alpha: float):
        super().__init__()
        assert d_model % n_heads == 0
        self.linear = nn.Linear(d_model, d_model)
        self.lora_A = nn.Parameter(torch.randn(rank, d_model))
        self.lora_B = nn.Parameter(torch.zeros(d_model, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
PARAMETRIZED = """
class Parametrized(nn.Module):
    def __init__(self, features_in, features_out, rank, alpha, device):
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, features_out).to(device))
        self.lora_B = nn.Parameter(torch.zeros(features_in, rank).to(device))
        self.scale = alpha / rank

    def forward(self, original_weights):
        return original_weights + (self.lora_B @ self.lora_A).view(original_weights.shape) * self.scale
"""
FUSED = """
class LoRAQueryValue(nn.Module):
    def __init__(
        self,
        qkv: nn.Module,
        linear_a_q: nn.Module,
        linear_b_q: nn.Module,
        linear_a_v: nn.Module,
        linear_b_v: nn.Module,
        r: int,
        alpha: int,
    ):
        super().__init__()
        self.qkv = qkv
        self.linear_a_q, self.linear_b_q = linear_a_q, linear_b_q
        self.linear_a_v, self.linear_b_v = linear_a_v, linear_b_v
        self.dim = qkv.in_features
        self.scaling = alpha / r

    def forward(self, x):
        qkv = self.qkv(x)
        qkv[:, :, :, : self.dim] += self.linear_b_q(self.linear_a_q(x)) * self.scaling
        qkv[:, :, :, -self.dim :] += self.linear_b_v(self.linear_a_v(x)) * self.scaling
        return qkv
"""
NORMED = """
class Normed(nn.Module):
    def __init__(self, d_in, d_out, rank, lora_alpha):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_out, d_in))
        self.m = nn.Parameter(self.weight.norm(p=2, dim=0, keepdim=True))
        self.lora_A = nn.Parameter(torch.randn(rank, d_in))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank))
        self.scaling = lora_alpha / rank

    def forward(self, x):
        adapted = self.weight + self.lora_B @ self.lora_A * self.scaling
        return F.linear(x, self.m * adapted / adapted.norm(p=2, dim=0, keepdim=True))
"""
BY_SHAPE = """
class Projected(nn.Module):
    def __init__(self, in_features: int, out_features: int, rank: int, lora_alpha: float):
        super().__init__()
        self.in_proj = nn.Parameter(torch.randn(in_features, rank))
        self.out_proj = nn.Parameter(torch.zeros(rank, out_features))
        self.scaling = lora_alpha / rank

    @torch.no_grad()
    def merge(self, module: nn.Linear):
        module.weight.data += (self.in_proj @ self.out_proj).T * self.scaling
        return module
"""
INHERITED = """
class Plain(nn.Module):
    def __init__(self, in_features, out_features, r=8, lora_alpha=16):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.scaling = lora_alpha / r


class Heir(Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling
"""
ABSTRACT = """
from abc import ABC, abstractmethod


class Unfinished(nn.Module, ABC):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        self.scaling = alpha / rank

    @abstractmethod
    def describe(self):
        ...

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
WHOLE_MODEL = """
class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


def merge_lora(model: nn.Module):
    for name, child in list(model.named_children()):
        if isinstance(child, LoRALinear):
            child.linear.weight.data += child.lora_B @ child.lora_A * child.scaling
            setattr(model, name, child.linear)
        else:
            merge_lora(child)
"""
ELSEWHERE = """
DEVICE = torch.device("mps")


class OnCard(nn.Module):
    def __init__(self, d_in, d_out, rank, alpha):
        super().__init__()
        self.base = nn.Linear(d_in, d_out)
        self.lora_A = nn.Parameter(torch.randn(rank, d_in, device=DEVICE))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank).cuda())
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + x.to(DEVICE) @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
ONE_DIMENSION = """
class Convolved(nn.Module):
    def __init__(self, orig_module: nn.Conv1d, r: int, lora_alpha: float):
        super().__init__()
        self.orig_module = orig_module
        kernel = orig_module.kernel_size
        self.lora_A = nn.Conv1d(orig_module.in_channels, r, kernel, bias=False)
        self.lora_B = nn.Conv1d(r, orig_module.out_channels, 1, bias=False)
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.orig_module(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
ASKED = """
class Configured(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.base = nn.Linear(spec.hidden_size, spec.hidden_size)
        self.lora_A = nn.Linear(spec.hidden_size, spec.lora_rank, bias=False)
        self.lora_B = nn.Linear(spec.lora_rank, spec.hidden_size, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * (self.spec.lora_alpha / self.spec.lora_rank)
"""
ANNOTATED = """
from absent_types import Float


class Annotated(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x: Float[torch.Tensor, "b n"] | None) -> Float[torch.Tensor, "b m"]:
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
STACKED = """
class MergedLoRA(nn.Module):
    def __init__(self, in_features, out_features, r=0, lora_alpha=1, enable_lora=[False]):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.enable_lora = enable_lora
        share = out_features // len(enable_lora)
        self.lora_A = nn.Parameter(torch.zeros(r * sum(enable_lora), in_features))
        self.lora_B = nn.Parameter(torch.zeros(share * sum(enable_lora), r))
        self.scaling = lora_alpha / r
        enabled = torch.zeros(len(enable_lora), share, dtype=torch.bool)
        enabled[enable_lora] = True
        self.rows = enabled.view(-1)

    def delta(self):
        after = F.conv1d(self.lora_A[None], self.lora_B[..., None], groups=sum(self.enable_lora))[0]
        whole = after.new_zeros(len(self.rows), after.shape[1])
        whole[self.rows] = after
        return whole

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(x, self.delta() * self.scaling)
"""
BETWEEN = """
class Diagonal(nn.Module):
    def __init__(self, in_features, out_features, r, lora_alpha):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_E = nn.Parameter(torch.randn(r, 1))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        delta = self.lora_B @ (self.lora_A * self.lora_E)
        return F.linear(x, self.weight + delta * self.scaling)
"""
RIGHT = {
    "sizes": SIZES,
    "one_size": ONE_SIZE,
    "parametrized": PARAMETRIZED,
    "fused": FUSED,
    "normed": NORMED,
    "by_shape": BY_SHAPE,
    "inherited": INHERITED,
    "abstract": ABSTRACT,
    "elsewhere": ELSEWHERE,
    "one_dimension": ONE_DIMENSION,
    "asked": ASKED,
    "annotated": ANNOTATED,
    "between": BETWEEN,
    "stacked": STACKED,
}
_SCALE = re.compile(r"((?:self\.spec\.)?(?:lora_)?alpha) / ((?:self\.spec\.lora_)?r(?:ank)?)\b")


def inverted(source: str) -> str:
    """The same with each scale turned over."""
    return _SCALE.sub(r"\2 / \1", source)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VerifyReport:
    """Each program right and with its scale turned over, in one project."""
    folder = tmp_path_factory.mktemp("project")
    for name, source in {**RIGHT, "whole_model": WHOLE_MODEL}.items():
        (folder / f"{name}.py").write_text(HEAD + source)
        assert inverted(source) != source, name
        (folder / f"wrong_{name}.py").write_text(HEAD + inverted(source))
    return run_verify(folder, driver="harness", seed=3)


def scale_of(report: VerifyReport, start: str) -> Verdict:
    rows = [
        row for row in report.rows if row.group.startswith(start) and row.scenario.endswith(": trained scale")
    ]
    assert rows, start
    return rows[-1].verdict


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_understood_without_a_description(name: str, report: VerifyReport) -> None:
    assert scale_of(report, f"{name}.py:") is Verdict.OK
    assert scale_of(report, f"wrong_{name}.py:") is Verdict.INVERTED


def test_correct_code_is_never_blamed(report: VerifyReport) -> None:
    blamed = {row.scenario for row in report.rows if row.is_failure and not row.group.startswith("wrong_")}
    assert not blamed


def test_a_function_that_merges_all_layers_of_a_model(report: VerifyReport) -> None:
    merges = [
        row for row in report.rows if " merge_lora " in row.group and row.scenario.endswith("trained scale")
    ]
    told = {row.group.partition(":")[0]: row.verdict for row in merges}
    assert told == {"whole_model.py": Verdict.OK, "wrong_whole_model.py": Verdict.INVERTED}


RSLORA = """
class LoRAOption(nn.Module):
    def __init__(self, base: nn.Linear, r: int, lora_alpha: float, use_rslora: bool = False):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.scaling = lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""


def test_rslora_is_asked_where_there_is_an_option_for_it(tmp_path: Path) -> None:
    wrong = RSLORA.replace("lora_alpha / math.sqrt(r) if use_rslora else ", "")
    (tmp_path / "right.py").write_text(HEAD + RSLORA)
    (tmp_path / "wrong.py").write_text(HEAD + wrong)
    report = run_verify(tmp_path, driver="harness", seed=3)
    told = {
        row.group.partition(":")[0]: (row.verdict, row.expected, row.observed)
        for row in report.rows
        if row.scenario.endswith(f": {Property.RSLORA}")
    }
    assert told["right.py"] == (Verdict.OK, pytest.approx(math.sqrt(2)), pytest.approx(math.sqrt(2)))
    assert told["wrong.py"] == (Verdict.RSLORA_IGNORED, pytest.approx(math.sqrt(2)), pytest.approx(0.5))
    assert scale_of(report, "right.py:") is scale_of(report, "wrong.py:") is Verdict.OK


SCRIPT = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--lora_path", required=True)
options = parser.parse_args()
for step in range(10**12):
    options.step = step


def apply_lora(weight, lora_A, lora_B, alpha, rank):
    return weight + lora_B @ lora_A * (alpha / rank)
"""


def test_a_function_of_a_script_that_wants_arguments(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(HEAD + SCRIPT)
    report = run_verify(tmp_path, driver="harness", seed=3)
    assert scale_of(report, "script.py:") is Verdict.OK


COMBINED = """
class Combine:
    def __init__(self, registry):
        self.registry = registry.copy()

    def linear(self, lora1, lora2, strength1, strength2):
        merged = {}
        for lora, strength in ((lora1, strength1), (lora2, strength2)):
            for key in lora.keys():
                merged[key] = lora[key] * strength if "lora_up" in key or "lora_B" in key else lora[key]
        return merged
"""


def test_a_strength_that_goes_into_both_factors(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(HEAD + COMBINED)
    twice = COMBINED.replace(' if "lora_up" in key or "lora_B" in key else lora[key]', "")
    (tmp_path / "twice.py").write_text(HEAD + twice)
    found = {}
    for name in ("right", "twice"):
        path = tmp_path / f"{name}.py"
        row = path.read_text().splitlines().index("        merged = {}") + 1
        report = run_verify(tmp_path, driver="harness", only=f"{path}:{row}", seed=3)
        found[name] = {item.scenario.rpartition(": ")[2]: item.verdict for item in report.rows}
    assert found["right"][str(Property.STRENGTH)] is Verdict.OK
    assert found["twice"][str(Property.STRENGTH)] is Verdict.STRENGTH_NOT_LINEAR


FRUGAL = """
class Embedded(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim, r=8, lora_alpha=1, **kwargs):
        nn.Embedding.__init__(self, num_embeddings, embedding_dim, **kwargs)
        self.lora_A = nn.Parameter(torch.zeros(r, num_embeddings))
        self.lora_B = nn.Parameter(torch.zeros(embedding_dim, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        return F.embedding(x, self.weight) + (F.embedding(x, self.lora_A.T) @ self.lora_B.T) * self.scaling


@dataclasses.dataclass
class LoraSettings:
    r: int = 8
    lora_alpha: float = 16.0
    total_step: int = None

    def __post_init__(self):
        if self.total_step is None:
            raise ValueError("total_step")


class Checked(nn.Module):
    def __init__(self, base: nn.Linear, config: LoraSettings):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, config.r, bias=False)
        self.lora_B = nn.Linear(config.r, base.out_features, bias=False)
        self.scaling = config.lora_alpha / config.r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""


def test_constructors_that_hand_on_keywords_and_settings_that_want_more(tmp_path: Path) -> None:
    (tmp_path / "frugal.py").write_text("import dataclasses\n" + HEAD + FRUGAL)
    report = run_verify(tmp_path, driver="harness", seed=3)
    told = [row.verdict for row in report.rows if row.scenario.endswith(": trained scale")]
    assert told == [Verdict.OK, Verdict.OK]


QUANTISED = """
import importlib.util

if importlib.util.find_spec("bitsandbytes") is not None:
    import bitsandbytes as bnb

    class LoRALinear8bit(nn.Module):
        def __init__(self, base_layer, rank, alpha):
            super().__init__()
            sizes = base_layer.in_features, base_layer.out_features
            self.base = bnb.nn.Linear8bitLt(*sizes, has_fp16_weights=False)
            self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
            self.scaling = alpha / rank

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""


def test_layers_of_a_package_for_quantised_weights(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(
        "import numpy as np\n\n\ndef apply_lora(weight, lora_A, lora_B, alpha, rank):\n"
        "    return weight + lora_B @ lora_A * (alpha / rank)\n"
    )
    (tmp_path / "quantised.py").write_text(HEAD + QUANTISED)
    report = run_verify(tmp_path, driver="harness", seed=3)
    assert scale_of(report, "quantised.py:") is Verdict.OK
    assert "bitsandbytes" in report.target.stubs


INJECTED = """
from pathlib import Path
from safetensors import safe_open
from safetensors.torch import load_file


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale


def load_adapter(model, adapter: Path):
    weights = load_file(str(adapter))
    with safe_open(str(adapter), framework="pt") as handle:
        metadata = handle.metadata() or {}
    for key in [key for key in weights if key.endswith(".lora_down.weight")]:
        name = key.removeprefix("diffusion_model.").removesuffix(".lora_down.weight")
        down = weights[key]
        up = weights[key.replace("lora_down", "lora_up")]
        alpha = float(metadata.get("ss_network_alpha", len(down)))
        layer = LoRALinear(model.get_submodule(name), len(down), alpha)
        layer.lora_down.weight.data.copy_(down)
        layer.lora_up.weight.data.copy_(up)
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, layer)
    return len(weights)
"""


def test_a_loader_that_puts_layers_into_a_model(tmp_path: Path) -> None:
    (tmp_path / "injected.py").write_text(HEAD + INJECTED)
    cut = INJECTED.replace("float(metadata.get(", "whole(metadata.get(")
    assert cut != INJECTED
    cut = cut.replace(
        "def load_adapter", "def whole(text):\n    return int(float(text))\n\n\ndef load_adapter"
    )
    (tmp_path / "truncated.py").write_text(HEAD + cut)
    found = {}
    for name in ("injected", "truncated"):
        path = tmp_path / f"{name}.py"
        row = path.read_text().splitlines().index("    weights = load_file(str(adapter))") + 1
        report = run_verify(tmp_path, driver="harness", only=f"{path}:{row}", seed=3)
        found[name] = {item.scenario.rpartition(": ")[2]: (item.verdict, item.detail) for item in report.rows}
    assert found["injected"]["trained scale"] == (Verdict.OK, "observed: alpha / rank")
    assert found["truncated"]["trained scale"][0] is Verdict.TRUNCATED


def test_a_package_of_the_project_that_lies_in_src(tmp_path: Path) -> None:
    package = tmp_path / "src" / "thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "numbers.py").write_text("def scale_of(alpha, rank):\n    return alpha / rank\n")
    (tmp_path / "scripts").mkdir()
    source = """
from thing.numbers import scale_of


def apply_lora(weight, lora_A, lora_B, alpha, rank):
    return weight + lora_B @ lora_A * scale_of(alpha, rank)
"""
    (tmp_path / "scripts" / "merge.py").write_text(HEAD + source)
    report = run_verify(tmp_path, driver="harness", seed=3)
    assert scale_of(report, "scripts/merge.py:") is Verdict.OK
    assert not report.target.stubs


EXPERTS = """
class LoRAExperts(nn.Module):
    def __init__(self, dim: int, n_tasks, rank: int, alpha: float):
        super().__init__()
        self.base = nn.Linear(dim, dim)
        self.lora_A = nn.ModuleList([nn.Linear(dim, rank, bias=False) for _ in range(n_tasks)])
        self.lora_B = nn.ModuleList([nn.Linear(rank, dim, bias=False) for _ in range(n_tasks)])
        self.scaling = alpha / rank

    def forward(self, x):
        delta = sum(up(down(x)) for down, up in zip(self.lora_A, self.lora_B))
        return self.base(x) + delta * self.scaling
"""


def test_one_of_several_experts_and_a_dim_beside_a_rank(tmp_path: Path) -> None:
    (tmp_path / "experts.py").write_text(HEAD + EXPERTS)
    (tmp_path / "inverted.py").write_text(HEAD + inverted(EXPERTS))
    report = run_verify(tmp_path, driver="harness", seed=3)
    assert scale_of(report, "experts.py:") is Verdict.OK
    assert scale_of(report, "inverted.py:") is Verdict.INVERTED
