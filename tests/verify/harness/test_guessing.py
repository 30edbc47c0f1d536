"""What the child finds out by itself: sizes, fused layers, devices, models, by trying what fits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.report import VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict
from tests.verify.harness.undescribed import HEAD, RIGHT, SIZES, WHOLE_MODEL, inverted

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")


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


def answers_at(line: str, source: str, path: Path) -> dict[str, Row]:
    """What is answered of the application at a line of a program, by question."""
    path.write_text(HEAD + source)
    row = path.read_text().splitlines().index(line) + 1
    report = run_verify(path.parent, driver="harness", only=f"{path}:{row}", seed=3)
    return {item.scenario.rpartition(": ")[2]: item for item in report.rows}


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_understood_without_a_description(name: str, report: VerifyReport) -> None:
    assert scale_of(report, f"{name}.py:") is Verdict.OK
    assert scale_of(report, f"wrong_{name}.py:") is Verdict.INVERTED


def test_correct_code_is_never_blamed(report: VerifyReport) -> None:
    blamed = {row.scenario for row in report.rows if row.is_failure and not row.group.startswith("wrong_")}
    assert not blamed


def test_a_root_of_the_rank_is_no_mistake_of_a_grown_rank(tmp_path: Path) -> None:
    rooted = SIZES.replace("lora_alpha / rank", "lora_alpha / math.sqrt(rank)")
    (tmp_path / "rooted.py").write_text(HEAD + rooted)
    (tmp_path / "fixed.py").write_text(HEAD + SIZES.replace("lora_alpha / rank", "lora_alpha / 8"))
    report = run_verify(tmp_path, driver="harness", seed=3)
    told = {row.group[:5]: row.verdict for row in report.rows if ": rank padded" in row.scenario}
    assert told == {"roote": Verdict.OBSERVED, "fixed": Verdict.RANK_DEPENDENT}
    assert not [row.scenario for row in report.rows if row.is_failure and row.group.startswith("rooted")]


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


@pytest.mark.parametrize("flag", ["use_rslora", "rank_stabilized"])
def test_rslora_is_asked_where_there_is_an_option_for_it(flag: str, tmp_path: Path) -> None:
    right = HEAD + RSLORA.replace("use_rslora", flag)
    (tmp_path / "right.py").write_text(right)
    (tmp_path / "wrong.py").write_text(right.replace(f"lora_alpha / math.sqrt(r) if {flag} else ", ""))
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
    twice = COMBINED.replace(' if "lora_up" in key or "lora_B" in key else lora[key]', "")
    found = [
        answers_at("        merged = {}", source, tmp_path / name)[Property.STRENGTH].verdict
        for name, source in (("right.py", COMBINED), ("twice.py", twice))
    ]
    assert found == [Verdict.OK, Verdict.STRENGTH_NOT_LINEAR]


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


PACKED_BASE = """
import bitsandbytes as bnb


class Merging8bit(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        self.scaling = alpha / rank

    def merge(self):
        state = self.base.state
        plain = bnb.functional.int8_vectorwise_dequant(self.base.weight.data, state.SCB)
        merged = plain + self.lora_B.weight @ self.lora_A.weight * self.scaling
        self.base.weight = bnb.nn.Int8Params(merged, requires_grad=False, has_fp16_weights=False)
        state.reset_grads()

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


class Merging4bit(Merging8bit):
    def merge(self):
        packed = self.base.weight
        plain = bnb.functional.dequantize_4bit(packed.data, packed.quant_state)
        merged = plain + self.lora_B.weight @ self.lora_A.weight * self.scaling
        self.base.weight = bnb.nn.Params4bit(merged.to("cpu"), **packed.__dict__).to(packed.device)
"""


def test_merges_into_weights_of_a_package_for_quantised_ones(tmp_path: Path) -> None:
    (tmp_path / "packed.py").write_text(HEAD + PACKED_BASE)
    (tmp_path / "turned.py").write_text(HEAD + PACKED_BASE.replace("alpha / rank", "rank / alpha"))
    report = run_verify(tmp_path, driver="harness", seed=3)
    merges = [
        (row.group.partition(":")[0], row.verdict)
        for row in report.rows
        if ".merge (" in row.group and row.scenario.endswith(": trained scale")
    ]
    assert merges == [("packed.py", Verdict.OK)] * 2 + [("turned.py", Verdict.INVERTED)] * 2


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
    cut = INJECTED.replace("float(metadata.get(", "whole(metadata.get(")
    assert cut != INJECTED
    cut = cut.replace(
        "def load_adapter", "def whole(text):\n    return int(float(text))\n\n\ndef load_adapter"
    )
    line = "    weights = load_file(str(adapter))"
    right = answers_at(line, INJECTED, tmp_path / "injected.py")[Property.SCALE]
    assert (right.verdict, right.detail) == (Verdict.OK, "observed: alpha / rank")
    wrong = answers_at(line, cut, tmp_path / "truncated.py")[Property.SCALE]
    assert wrong.verdict is Verdict.TRUNCATED


FILLED = """
class Injected(nn.Module):
    def __init__(self, in_features, out_features, r=4):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.lora_down = nn.Linear(in_features, r, bias=False)
        self.lora_up = nn.Linear(r, out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x))


def layers_of(model, inside, kinds):
    for outer in model.modules():
        if outer.__class__.__name__ in inside:
            yield from (item for item in outer.modules() if isinstance(item, tuple(kinds)))


def add_adapter(model, loras, inside={"CrossAttention", "Attention"}, weight: float = 1.0):
    for layer in layers_of(model, inside, [Injected]):
        up, down = loras.pop(0), loras.pop(0)
        layer.lora_up.weight = nn.Parameter(up * weight + layer.lora_up.weight)
        layer.lora_down.weight = nn.Parameter(down + layer.lora_down.weight)
"""


@pytest.mark.parametrize("name", ["weight", "alpha"])
def test_factors_in_a_list_that_go_into_the_layers_of_a_model(name: str, tmp_path: Path) -> None:
    source = FILLED.replace("weight: float", f"{name}: float").replace("up * weight", f"up * {name}")
    line = next(line for line in source.splitlines() if line.startswith("def add_adapter"))
    right = answers_at(line, source, tmp_path / "right.py")[Property.STRENGTH]
    assert right.verdict is Verdict.OK
    squared = source.replace("Parameter(down +", f"Parameter(down * {name} +")
    wrong = answers_at(line, squared, tmp_path / "wrong.py")[Property.STRENGTH]
    assert (wrong.verdict, wrong.expected) == (Verdict.STRENGTH_NOT_LINEAR, pytest.approx(0.5))
    assert wrong.observed == pytest.approx(0.25)


TURNED = """
class Table(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim, r, lora_alpha):
        super().__init__(num_embeddings, embedding_dim)
        self.lora_A = nn.Parameter(torch.zeros(r, num_embeddings))
        self.lora_B = nn.Parameter(torch.zeros(embedding_dim, r))
        self.scaling, self.merged = lora_alpha / r, False

    def merge(self):
        self.weight.data += (self.lora_B @ self.lora_A).T * self.scaling
        self.merged = True

    def unmerge(self):
        self.weight.data -= (self.lora_B @ self.lora_A).T * self.scaling
        self.merged = False

    def forward(self, x):
        found = nn.Embedding.forward(self, x)
        if self.merged:
            return found
        return found + F.embedding(x, self.lora_A.T) @ self.lora_B.T * self.scaling
"""


def test_a_delta_that_lies_the_wrong_way_round_is_seen_in_a_square_layer(tmp_path: Path) -> None:
    line = "    def forward(self, x):"
    assert answers_at(line, TURNED, tmp_path / "right.py")[Property.UNMERGED].verdict is Verdict.OK
    turned = TURNED.replace("+= (self.lora_B @ self.lora_A).T", "+= (self.lora_B @ self.lora_A)")
    wrong = answers_at(line, turned, tmp_path / "wrong.py")[Property.UNMERGED]
    assert wrong.verdict is Verdict.RESIDUAL_AFTER_UNMERGE
    assert "square" in wrong.detail


LEFT = """
class Leaves(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.zeros(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        weight = self.linear.weight.data + self.lora_B @ self.lora_A * self.scaling
        return F.linear(x, weight, self.linear.bias)
"""


def test_a_forward_that_leaves_its_delta_in_the_weight(tmp_path: Path) -> None:
    line = "    def forward(self, x):"
    assert answers_at(line, LEFT, tmp_path / "right.py")[Property.AGAIN].verdict is Verdict.OK
    own = "self.linear.weight.data"
    left = LEFT.replace(f"weight = {own} +", f"weight = {own} = {own} +")
    wrong = answers_at(line, left, tmp_path / "wrong.py")[Property.AGAIN]
    assert (wrong.verdict, wrong.observed) == (Verdict.ACCUMULATES, pytest.approx(1.0))


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
