"""Formulas of applications as `map` prints them, from spellings of the field."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.ledger.applications import applications, shown_products
from tests.projects import lint_files
from tests.provenance.formulas import ledger_of


def formulas(source: str) -> list[str]:
    """The formulas of all applications."""
    return [application.formula for application in applications(ledger_of(source))]


FUSED = """
    class LoRALinear:
        def __init__(self, weight, lora_A, lora_B, lora_alpha, lora_rank):
            self.weight = weight
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_alpha / lora_rank

        def fuse(self, lora_scale=1.0):
            self.weight.data += lora_scale * self.scaling * (self.lora_B @ self.lora_A)
"""


@pytest.mark.parametrize("name", ["lora_scale", "scale", "multiplier_", "adapter_weight", "ratio"])
def test_what_the_caller_gives_is_a_multiplier(name: str, tmp_path: Path) -> None:
    source = FUSED.replace("lora_scale", name)
    role = "multiplier" if name.endswith("scale") else "strength"
    assert formulas(source) == [f"alpha / rank * {role}"]
    assert lint_files(tmp_path, {"layer.py": source}) == ()


@pytest.mark.parametrize("default", ["0.5", "None"])
def test_a_multiplier_whatever_its_default(default: str) -> None:
    assert formulas(FUSED.replace("=1.0", f"={default}")) == ["alpha / rank * multiplier"]


def test_a_flag_is_no_multiplier() -> None:
    assert formulas(FUSED.replace("=1.0", "=True")) == ["unknown"]


def test_a_strength_keeps_its_name() -> None:
    assert formulas(FUSED.replace("lora_scale", "strength")) == ["alpha / rank * strength"]


def test_a_kept_multiplier_may_have_been_1_before() -> None:
    source = """
        class LoRALinear:
            def __init__(self, weight, lora_A, lora_B, lora_scale=1):
                self.weight = weight
                self.lora_A = lora_A
                self.lora_B = lora_B
                self.lora_scale = lora_scale

            def reset(self):
                self.lora_scale = 1.0

            def fuse(self):
                self.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)
    """
    assert formulas(source) == ["1 | multiplier"]


LOADER = """
    def load_lora(weights, up, down, alpha=1.0):
        lora_up, lora_down = up["x.lora_up.weight"], down["x.lora_down.weight"]
        weights["w"] = weights["w"] + alpha * (lora_up @ lora_down)
"""


def test_an_alpha_that_is_only_multiplied_with_is_a_multiplier() -> None:
    assert formulas(LOADER) == ["multiplier"]


@pytest.mark.parametrize(
    ("old", "new", "formula"),
    [
        ("alpha *", "alpha / lora_down.shape[0] *", "alpha / rank"),
        ("alpha=1.0", "alpha", "alpha"),
    ],
)
def test_an_alpha_beside_a_rank_is_none(old: str, new: str, formula: str) -> None:
    assert formulas(LOADER.replace(old, new)) == [formula]


SUMMED = """
    def patched(module, loras):
        def forward(x):
            total = 0
            for lora in loras:
                if lora.enabled:
                    total += lora.lora_up(lora.lora_down(x)) * lora.multiplier * lora.alpha_scale
            return module.org_forward(x) + total
        return forward
"""


@pytest.mark.parametrize("start", ["0", "0.0", "torch.zeros_like(x)"])
@pytest.mark.parametrize("step", ["total += ", "total = total + "])
def test_deltas_of_several_adapters_summed_up(start: str, step: str, tmp_path: Path) -> None:
    source = SUMMED.replace("total = 0", f"total = {start}").replace("total += ", step)
    assert formulas(source)[-1] == "scaling * strength"
    assert lint_files(tmp_path, {"layer.py": source}) == ()


HELD = """
    from __future__ import annotations

    class LoRALinearLayer:
        def __init__(self, width, rank, network_alpha):
            self.down = Linear(width, rank)
            self.up = Linear(rank, width)
            self.network_alpha = network_alpha
            self.rank = rank

        def forward(self, x):
            return self.up(self.down(x)) * (self.network_alpha / self.rank)

    class LoRACompatibleLinear:
        def __init__(self, lora_layer: LoRALinearLayer | None = None):
            self.lora_layer = lora_layer

        def forward(self, x):
            return super().forward(x) + self.lora_layer(x)
"""


@pytest.mark.parametrize(
    "annotation", ["LoRALinearLayer | None", "Optional[LoRALinearLayer]", "LoRALinearLayer"]
)
def test_a_layer_that_is_given_runs_its_class(annotation: str, tmp_path: Path) -> None:
    source = HELD.replace("LoRALinearLayer | None", annotation)
    assert formulas(source) == ["alpha / rank"]
    assert lint_files(tmp_path, {"layer.py": source}) == ()


@pytest.mark.parametrize("annotation", ["nn.Module", "LoRALinearLayer | nn.Module", "list[LoRALinearLayer]"])
def test_a_layer_of_unknown_class_is_unknown(annotation: str) -> None:
    assert formulas(HELD.replace("LoRALinearLayer | None", annotation)) == []


CONVERTED = """
    class LoRALoader:
        def names(self, lora):
            table = {}
            for key in lora:
                if "lora_B" not in key:
                    continue
                alpha_key = key.replace("lora_B.weight", "alpha")
                if alpha_key not in lora:
                    alpha_key = None
                table[key.split(".")[0]] = (key, key.replace("lora_B", "lora_A"), alpha_key)
            return table

        def convert(self, lora):
            table = self.names(lora)
            converted = {}
            for name in table:
                first = lora[table[name][0]]
                second = lora[table[name][1]]
                if table[name][2] is not None:
                    second = second * (lora[table[name][2]] / second.shape[0])
                converted[name + ".lora_B.weight"] = first
                converted[name + ".lora_A.weight"] = second
            return converted

        def fuse(self, weights, lora, name):
            lora = self.convert(lora)
            delta = lora[name + ".lora_B.weight"] @ lora[name + ".lora_A.weight"]
            weights[name] = weights[name] + delta
"""


def test_a_table_of_keys_and_the_dictionary_that_a_method_makes(tmp_path: Path) -> None:
    assert formulas(CONVERTED) == ["alpha / rank | 1"]
    assert lint_files(tmp_path, {"layer.py": CONVERTED}) == ()


def test_a_table_of_tables() -> None:
    rows = CONVERTED.replace(
        '(key, key.replace("lora_B", "lora_A"), alpha_key)',
        '{"up": key, "down": key.replace("lora_B", "lora_A"), "alpha": alpha_key}',
    )
    for place, name in enumerate(["up", "down", "alpha"]):
        rows = rows.replace(f"[name][{place}]", f'[name]["{name}"]')
    assert formulas(rows) == ["alpha / rank | 1"]


GATED = """
    class LoRAModule:
        def __init__(self, module, rank, alpha):
            alpha = rank if alpha is None or alpha == 0 else alpha
            self.lora_down = self.module(8, rank, 1, bias=False)
            self.lora_up = self.module(rank, 8, 1, bias=False)
            self.scale = alpha / rank
            self.scalar = nn.Parameter(torch.tensor(0.0))

        def limit(self, ratio):
            self.scalar *= ratio

        def export(self):
            destination = {}
            destination["lora_up.weight"] = self.lora_up.weight * self.scalar
            return destination

        def delta(self):
            delta = self.lora_up.weight @ self.lora_down.weight
            if self.training:
                drop = (torch.rand(delta.size(0)) > self.rank_dropout).to(delta.dtype)
                drop /= drop.mean()
                delta *= drop
            return self.dropout(delta * self.scalar * self.scale)

        def merge(self, base):
            base.weight += self.delta()
"""


def test_gates_masks_and_ranks_that_stand_in_for_alpha(tmp_path: Path) -> None:
    assert formulas(GATED) == ["alpha / rank * gate"]
    assert lint_files(tmp_path, {"layer.py": GATED}) == ()


@pytest.mark.parametrize("alpha", ["alpha or rank", "alpha if alpha else rank"])
def test_a_missing_alpha_has_a_stand_in(alpha: str) -> None:
    source = GATED.replace("rank if alpha is None or alpha == 0 else alpha", alpha)
    assert formulas(source) == ["alpha / rank * gate"]


@pytest.mark.parametrize("made", ["torch.zeros(8)", "torch.randn(1)"])
def test_a_learned_vector_is_a_gate_too(made: str) -> None:
    assert formulas(GATED.replace("torch.tensor(0.0)", made)) == ["alpha / rank * gate"]


def test_a_factor_that_is_rescaled_in_place_is_a_fold() -> None:
    source = GATED.replace("self.scalar *= ratio", "self.lora_up.weight.data *= ratio")
    assert [fold.scale.formula() for fold in ledger_of(source).folds][:1] == ["strength"]


HOT = """
    class LoRALinear:
        def __init__(self):
            self.lora_A_weights = []
            self.lora_B_weights = []

        def forward(self, x):
            out = self.linear(x)
            for lora_A, lora_B in zip(self.lora_A_weights, self.lora_B_weights):
                out = out + x @ lora_A.T @ lora_B.T
            return out

    def load_lora(module, lora, name, alpha=1):
        module.lora_A_weights.append(lora[f"{name}.lora_A.weight"] * alpha)
        module.lora_B_weights.append(lora[f"{name}.lora_B.weight"])
"""


def test_factors_that_go_into_lists_are_folded() -> None:
    assert [fold.scale.formula() for fold in ledger_of(HOT).folds] == ["multiplier"]


@pytest.mark.parametrize("name", ["lora_out", "delta", "y"])
def test_the_input_is_no_delta_whatever_it_is_called(name: str) -> None:
    source = f"""
        class LoRALinear(nn.Module):
            def __init__(self, weight, lora_A, lora_B, lora_alpha, lora_rank):
                self.weight = weight
                self.lora_A = lora_A
                self.lora_B = lora_B
                self.scaling = lora_alpha / lora_rank
                self.lora_dropout = nn.Dropout(0.1)

            def forward(self, x):
                {name} = self.lora_dropout(x)
                {name} = {name} @ self.lora_A.T
                {name} = {name} @ self.lora_B.T
                {name} = {name} * self.scaling
                return F.linear(x, self.weight) + {name}
    """
    assert formulas("import torch.nn.functional as F\nfrom torch import nn\n" + dedent(source)) == [
        "alpha / rank"
    ]


def test_a_product_that_only_a_trial_understands_is_listed() -> None:
    source = """
        from safetensors.torch import load_file

        def merge(path, weight):
            tensors, group = load_file(path), {}
            for key in tensors.keys():
                group[key.partition(".lora_")[2]] = tensors[key]
                if "down.weight" in group and "up.weight" in group:
                    weight += group["up.weight"] @ group["down.weight"]
            return weight
    """
    ledger = ledger_of(source)
    assert formulas(source) == ["1"]
    assert [item.kind for item in shown_products(ledger)] == ["delta"]


GIVEN = """
def apply_lora(weight, lora_A, lora_B, scaling):
    weight += (lora_B @ lora_A) * scaling
    return weight


def merge_lora(weight, lora_A, lora_B, lora_alpha):
    return apply_lora(weight, lora_A, lora_B, {given})
"""


@pytest.mark.parametrize(
    ("given", "formula"),
    [("lora_alpha / lora_A.shape[1]", "unknown"), ("lora_alpha / lora_A.shape[0]", "alpha / rank")],
    ids=["by the wrong extent", "the trained scale"],
)
def test_the_name_of_a_parameter_is_less_than_what_the_caller_gives(given: str, formula: str) -> None:
    (found,) = formulas(GIVEN.format(given=given))
    assert formula in found
    assert "scaling" not in found
