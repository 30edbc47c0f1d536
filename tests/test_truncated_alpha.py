"""LS204: integers made of an alpha that may be none, where it is divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

LAYER = """\
class LoRALinear:
    {field}

    def __init__(self, base, rank{alpha}):
        self.base = base
        self.rank = rank
        {kept}

    def forward(self, x):
        return self.base(x) + {scale} * (x @ self.lora_A.T @ self.lora_B.T)
"""
KEPT = "self.alpha = alpha"


@pytest.mark.parametrize(
    ("field", "alpha", "kept", "scale"),
    [
        ("", ", alpha: float", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha=16.0", KEPT, "int(self.alpha) / self.rank"),
        ("", ", alpha: float = 16", "self.scale = int(alpha) / rank", "self.scale"),
        ("", ", alpha: float | None = None", KEPT, "(int(self.alpha) / math.sqrt(self.rank))"),
        ("alpha: float = 16.0", "", "pass", "(int(self.alpha) / self.rank)"),
        ("", ", alpha=16.0", "self.alpha = rank if alpha is None else alpha", "int(self.alpha) / self.rank"),
    ],
)
def test_integers_of_real_alphas_fire(field: str, alpha: str, kept: str, scale: str, tmp_path: Path) -> None:
    source = LAYER.format(field=field, alpha=alpha, kept=kept, scale=scale)
    assert [found.code for found in findings(source, tmp_path, "LS204")] == ["LS204"]


@pytest.mark.parametrize(
    ("field", "alpha", "kept", "scale"),
    [
        ("", ", alpha: int = 16", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha=16", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha=None", "self.alpha = rank if alpha is None else alpha", "int(self.alpha) / self.rank"),
        ("", ", alpha: int | str = 16.0", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", config=None", "self.alpha = config.alpha", "(int(self.alpha) / self.rank)"),
        ("", ", alpha: float = 16.0", KEPT, "(self.alpha / int(self.rank))"),
        ("alpha: int = 16", "", "pass", "(int(self.alpha) / self.rank)"),
    ],
)
def test_integers_that_lose_nothing_are_silent(
    field: str, alpha: str, kept: str, scale: str, tmp_path: Path
) -> None:
    source = LAYER.format(field=field, alpha=alpha, kept=kept, scale=scale)
    assert findings(source, tmp_path, "LS204") == ()


BUFFER = """\
class LoRALinear:
    def __init__(self, base, lora_A, lora_B, rank, alpha: float = 1.0, sd=None):
        self.base = base
        self.lora_A, self.lora_B, self.rank = lora_A, lora_B, rank
        {kept}

    def forward(self, x):
        return self.base(x) + self.alpha / self.rank * (x @ self.lora_A.T @ self.lora_B.T)
"""


@pytest.mark.parametrize(
    "kept",
    [
        'self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.int32))',
        "self.alpha = torch.tensor(alpha).to(torch.int64)",
        "self.alpha = torch.as_tensor([alpha]).long()",
        "self.alpha = torch.LongTensor([alpha])",
        'self.alpha = np.asarray(alpha, "int32")',
        "self.alpha = jnp.array(alpha, dtype=jnp.int32)",
        "self.alpha = torch.full((1,), alpha, dtype=torch.int)",
    ],
)
def test_tensors_of_integers_fire(kept: str, tmp_path: Path) -> None:
    source = BUFFER.format(kept=kept)
    assert [found.code for found in findings(source, tmp_path, "LS204")] == ["LS204"]


@pytest.mark.parametrize(
    "kept",
    [
        'self.register_buffer("alpha", torch.tensor(alpha))',
        "self.alpha = torch.tensor(alpha, dtype=torch.float32)",
        "self.alpha = torch.tensor(alpha).to(base.device)",
        "self.ids = torch.tensor(alpha, dtype=torch.int32)",
        'self.alpha = alpha\n        self.register_buffer("rank_of", torch.tensor(rank, dtype=torch.int32))',
        "self.alpha = torch.tensor(rank, dtype=torch.int32)",
    ],
)
def test_other_tensors_are_silent(kept: str, tmp_path: Path) -> None:
    assert not findings(BUFFER.format(kept=kept), tmp_path, "LS204")


def test_an_integer_tensor_of_a_number_that_may_be_one_is_plausible_only(tmp_path: Path) -> None:
    source = BUFFER.format(kept='self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.int32))')
    unsure, sure = source.replace(": float = 1.0", "=1"), source.replace(": float = 1.0", ": int = 1")
    assert [found.confidence for found in findings(unsure, tmp_path, "LS204")] == ["medium"]
    assert not findings(sure, tmp_path, "LS204")


def test_a_rank_that_may_stand_in_and_a_hook_that_is_called_out_of_sight(tmp_path: Path) -> None:
    source = """\
def attach_lora(module, lora_A, lora_B, alpha=None):
    rank = lora_A.shape[0]
    if alpha is None:
        alpha = rank
    module.register_forward_hook(
        lambda mod, inputs, output: output + (inputs[0] @ lora_A.T @ lora_B.T) * (alpha // rank)
    )
"""
    assert [found.code for found in findings(source, tmp_path, "LS204")] == ["LS204"]
    assert not findings(source.replace("//", "/"), tmp_path, "LS204")


WALKS = """\
def alphas_of(state_dict):
    alphas = {{}}
    for key, value in state_dict.items():
        {test}
            alphas[key.rsplit(".", 1)[0]] = {made}
    return alphas


def merge_lora(model, state_dict):
    alphas = alphas_of(state_dict)
    for name, alpha in alphas.items():
        down, up = state_dict[name + ".lora_down.weight"], state_dict[name + ".lora_up.weight"]
        model[name].weight.data += alpha / down.shape[0] * (up @ down)
"""


@pytest.mark.parametrize(
    ("test", "made", "count"),
    [
        ('if key.endswith(".alpha"):', "int(value)", 1),
        ('if "alpha" in key:', "int(value.cpu())", 1),
        ('if key.endswith(".alpha"):', "float(value)", 0),
        ('if key.endswith(".lora_down.weight"):', "int(value.shape[0])", 0),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_alphas_that_are_met_on_a_walk(
    test: str, made: str, count: int, opened: bool, tmp_path: Path
) -> None:
    source = WALKS.format(test=test, made=made)
    if opened:
        source = "from safetensors.torch import load_file\n\n" + source
        source += "\n\ndef load_lora(model, path):\n    merge_lora(model, load_file(path))\n"
    assert len(findings(source, tmp_path, "LS204")) == count


GATHERED = """
from lora_files import load_converted


class Runner:
    def __init__(self, layers):
        self.layers = layers
        self.adapters = {{}}

    def load(self, path, adapter):
        self.adapters[adapter] = {{}}
        for name, tensor in load_converted(path).items():
            self.adapters[adapter][name] = tensor

    def activate(self, adapter):
        for name, layer in self.layers.items():
            down = self.adapters[adapter][name + ".lora_A"]
            rank = down.shape[0]
            if name + ".alpha" in self.adapters[adapter]:
                numerator = {number}
            else:
                numerator = rank
            layer.lora_rank = rank
            layer.lora_alpha = numerator
"""
"""Entries of a file that are put together under whatever keys they have, and are asked for by name."""


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ('int(self.adapters[adapter][name + ".alpha"].item())', ["LS204"]),
        ('float(self.adapters[adapter][name + ".alpha"].item())', []),
        ('int(self.adapters[adapter][name + ".lora_B"].shape[1])', []),
    ],
)
def test_alphas_of_a_dictionary_that_a_loop_fills(number: str, expected: list[str], tmp_path: Path) -> None:
    source = GATHERED.format(number=number)
    assert [found.code for found in findings(source, tmp_path, "LS204")] == expected


COUNTED = """
from safetensors.torch import load_file


def described(path, roles, counts: dict[str, {kind}]):
    tensors = load_file(path)
    layers = sorted(key for key in tensors if key.endswith(".lora_A.weight"))
    about = {{"layers": layers, "roles": list(roles)}}
    about["alphas"] = {{key: int(value) for key, value in counts.items() if int(value) > 0}}
    return about
"""


@pytest.mark.parametrize(("kind", "count"), [("int", 0), ("torch.Tensor", 2)])
def test_a_dictionary_that_is_declared_to_hold_integers_is_no_file(
    kind: str, count: int, tmp_path: Path
) -> None:
    assert len(findings(COUNTED.format(kind=kind), tmp_path, "LS204")) == count


WRITTEN = """
import torch
from torch import nn


class LoraLinear(nn.Linear):
    def __init__(self, size, out, rank: int = 8, alpha: int = 16):
        super().__init__(size, out)
        self.lora_r, self.lora_alpha = rank, {kept}
        self.scaling = self.lora_alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(size, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, out))


def state_of(model):
    state = {{}}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            state[f"{{name}}.lora_A"] = module.lora_A
            state[f"{{name}}.lora_B"] = module.lora_B
            state[f"{{name}}.lora_alpha"] = torch.tensor(module.lora_alpha)
    return state


def load_state(model, state):
    modules = dict(model.named_modules())
    for key, tensor in state.items():
        module = modules[key.rpartition(".")[0]]
        if key.endswith(".lora_alpha"):
            module.lora_alpha = int(tensor.item())
            module.scaling = module.lora_alpha / module.lora_r
"""


@pytest.mark.parametrize(("kept", "count"), [("int(alpha)", 0), ("alpha * 0.5", 1)])
def test_entries_that_the_same_file_writes_of_whole_numbers(kept: str, count: int, tmp_path: Path) -> None:
    assert len(findings(WRITTEN.format(kept=kept), tmp_path, "LS204")) == count
