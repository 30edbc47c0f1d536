"""LS112, LS114, LS406, LS407, LS408, LS409: mistakes of adapter networks beyond plain LoRA."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import fix_files, lint_files

CODES = ["LS112", "LS114", "LS406", "LS407", "LS408", "LS409"]


def codes(folder: Path, **files: str) -> list[str]:
    """Codes of the findings in a small project."""
    paths = []
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        paths.append(path)
    return [finding.code for finding in lint(paths, [], codes=CODES).findings]


# ---- LS112 -----------------------------------------------------------------------------------

LOHA = """
class LohaModule(nn.Module):
    def __init__(self, org_module, lora_dim, alpha):
        self.org_module = org_module
        self.hada_w1_a = nn.Parameter(torch.zeros(4, lora_dim))
        self.hada_w1_b = nn.Parameter(torch.zeros(lora_dim, 4))
        self.hada_w2_a = nn.Parameter(torch.zeros(4, lora_dim))
        self.hada_w2_b = nn.Parameter(torch.zeros(lora_dim, 4))
        self.scale = alpha / lora_dim
        self.scalar = nn.Parameter(torch.tensor(0.0))

    def get_weight(self):
        weight = (self.hada_w1_a @ self.hada_w1_b) * (self.hada_w2_a @ self.hada_w2_b)
        return weight * self.scale * self.scalar

    def forward(self, x):
        first = F.linear(F.linear(x, self.hada_w1_b), self.hada_w1_a)
        second = F.linear(F.linear(x, self.hada_w2_b), self.hada_w2_a)
        return self.org_module(x) + first * second * LAST
"""

GLORA = """
class GloraModule(nn.Module):
    def __init__(self, org_module, rank, alpha):
        self.org_module = org_module
        self.a1 = nn.Linear(8, rank, bias=False)
        self.a2 = nn.Linear(rank, 8, bias=False)
        self.b1 = nn.Linear(8, rank, bias=False)
        self.b2 = nn.Linear(rank, 8, bias=False)
        self.lora_scale = alpha / rank

    def delta_weight(self):
        a = self.a2.weight @ self.a1.weight
        b = self.b2.weight @ self.b1.weight
        return (self.org_module.weight @ a + b).mul(self.lora_scale)

    def bypass_on(self, h):
        return self.org_module(self.a2(self.a1(h))) + self.b2(self.b1(h))

    def call(self, x):
        return self.org_module(x) + self.bypass_on(x) * LAST
"""

GATED = """
class GatedLoRA(nn.Module):
    def __init__(self, base, rank):
        self.base = base
        self.lora_A = nn.Parameter(torch.zeros(rank, 8))
        self.lora_B = nn.Parameter(torch.zeros(8, rank))
        self.gate = nn.Parameter(torch.zeros(1))

    def merged(self):
        return self.base.weight + self.gate * (self.lora_B @ self.lora_A)

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * LAST
"""

HELPED = """
class LokrAdapter(nn.Module):
    def __init__(self, base, lora_dim, alpha):
        self.base = base
        self.lokr_w1 = nn.Parameter(torch.zeros(2, 2))
        self.lokr_w2 = nn.Parameter(torch.zeros(4, 4))
        self.scaling = alpha / lora_dim

    def fuse(self):
        self.base.weight.data += make_kron(self.lokr_w1, self.lokr_w2, self.scaling)

    def _bypass(self, hidden_states, strength):
        h = F.linear(hidden_states, self.lokr_w2)
        return F.linear(h, self.lokr_w1) * strength

    def forward(self, x):
        return self.base(x) + self._bypass(x, self.strength * LAST)
"""


@pytest.mark.parametrize(
    ("source", "complete"),
    [
        (LOHA, "self.scale * self.scalar"),
        (GLORA, "self.lora_scale"),
        (GATED, "self.gate"),
        (HELPED, "self.scaling"),
    ],
    ids=["loha", "glora", "gated", "helped"],
)
def test_bypass_omits_scale(source: str, complete: str, tmp_path: Path) -> None:
    found = codes(tmp_path, lora_module=source.replace("LAST", "1"))
    assert set(found) == {"LS112"}
    assert codes(tmp_path, lora_module=source.replace("LAST", complete)) == []


NORM = """
class RootMeanSquare(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, hidden_states):
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.eps)
        return self.weight * hidden_states


class Block(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.norm = RootMeanSquare(width, eps=eps)
        self.layer = MADE

    def forward(self, hidden_states, lora_layer):
        return self.layer(self.norm(hidden_states), lora_layer)
"""

INLINE = """
class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)

    def forward(self, hidden_states, layer):
        q, v = self.q_proj(hidden_states), self.v_proj(hidden_states)
        first, second = getattr(self, "lora_A_weights", None), getattr(self, "lora_B_weights", None)
        if first is not None and second is not None:
            A_q = first["q_proj"][layer].to(q)
            B_q = second["q_proj"][layer].to(q)
            half = torch.einsum("bfi,bni->bnf", A_q, hidden_states)
            q = q + torch.einsum("bfi,bni->bnf", B_q, half) * LAST
            A_v = first["v_proj"][layer].to(q)
            B_v = second["v_proj"][layer].to(q)
            half = torch.einsum("bfi,bni->bnf", A_v, hidden_states)
            v = v + torch.einsum("bfi,bni->bnf", B_v, half) * LAST
        return attend(q, v)
"""


def test_the_weight_of_a_norm_before_the_layer_is_no_learned_scalar(tmp_path: Path) -> None:
    inline = NORM.replace("MADE", "Attention(width)") + INLINE.replace(
        "LAST", 'getattr(self, "lora_scale", 1.0)'
    )
    assert codes(tmp_path, model=inline) == []
    gated = (NORM.replace("MADE", "GatedLoRA(base, 8)") + GATED).replace(
        "forward(self, x)", "forward(self, x, _)"
    )
    assert codes(tmp_path, model=gated.replace("LAST", "1")) == ["LS112"]
    assert codes(tmp_path, model=gated.replace("LAST", "self.gate")) == []


@pytest.mark.parametrize(
    "answer",
    ["True", "not self.merged", "x.ndim > 2 and hasattr(self, 'kernel')"],
)
def test_a_question_about_the_matrices_is_silent(answer: str, tmp_path: Path) -> None:
    asks = f"""
    def takes_kernel(self, x):
        if not (self.lokr_w1.is_cuda and self.lokr_w2.is_cuda):
            return False
        return {answer}

    def run(self, x):
        return self.kernel(x) if self.takes_kernel(x) else self(x)
"""
    assert codes(tmp_path, lora_module=HELPED.replace("LAST", "self.scaling") + asks) == []


def test_a_scale_under_another_name_is_silent(tmp_path: Path) -> None:
    source = GLORA.replace("LAST", "(self.alpha / self.rank)")
    assert codes(tmp_path, lora_module=source) == []


def test_a_strength_of_the_merge_is_silent(tmp_path: Path) -> None:
    source = GATED.replace("LAST", "1").replace("nn.Parameter(torch.zeros(1))", "rank")
    assert codes(tmp_path, lora_module=source) == []


FUSED = """
class FusedLoRA(nn.Linear):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__(in_features, out_features)
        self.lora_A = nn.Linear(in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, out_features, bias=False)
        self.scale = alpha / rank

    def weight_norm(self):
        delta = self.lora_B.weight @ self.lora_A.weight
        return torch.linalg.norm(self.weight + self.scale * delta, dim=1).detach()

    def effective_weight(self):
        return self.weight + self.scale * (self.lora_B.weight @ self.lora_A.weight)

    def forward(self, x):
        base = F.linear(x, self.weight, self.bias)
        delta = fused_forward(x, self.lora_A.weight, self.lora_B.weightGIVEN)
        return delta.add_(base)
"""


def test_a_kernel_out_of_sight_that_is_given_the_scale_is_silent(tmp_path: Path) -> None:
    assert codes(tmp_path, lora_module=FUSED.replace("GIVEN", "")) == ["LS112"]
    assert codes(tmp_path, lora_module=FUSED.replace("GIVEN", ", self.scale")) == []


def test_a_scale_in_a_norm_is_no_way_of_the_weight(tmp_path: Path) -> None:
    start, end = FUSED.index("    def effective_weight"), FUSED.index("    def forward")
    normed = FUSED[:start] + FUSED[end:]
    assert codes(tmp_path, lora_module=normed.replace("GIVEN", "")) == []


MANY_WAYS = """
class ScalarLoRA(nn.Module):
    def __init__(self, base, rank, alpha, use_scalar=False):
        self.base = base
        self.lora_A = nn.Parameter(torch.zeros(rank, 8))
        self.lora_B = nn.Parameter(torch.zeros(8, rank))
        divisor = rank
        if self.rs_lora:
            divisor = math.sqrt(divisor)
        if alpha is None or alpha == 0:
            alpha = rank
        self.scale = alpha / divisor
        if not use_scalar:
            self.register_buffer("scalar", torch.tensor(1.0), persistent=False)
        else:
            self.scalar = nn.Parameter(torch.tensor(0.0))

    def load_weight_hook(self, module, keys):
        if isinstance(self.scalar, nn.Parameter):
            self.scalar.data.copy_(torch.ones_like(self.scalar))
        elif getattr(self, "scalar", None) is not None:
            self.scalar.copy_(torch.ones_like(self.scalar))
        else:
            self.register_buffer("scalar", torch.ones_like(self.scalar), persistent=False)

    def make_weight(self):
        return self.lora_B @ self.lora_A * self.scalar

    def merged(self):
        return self.base.weight + self.make_weight() * self.scale

    def bypass(self, x):
        if self.fused:
            delta = fused_forward(x, self.lora_A, self.lora_B)
        else:
            delta = plain_forward(x, self.lora_A, self.lora_B)
        return delta * self.scalar

    def scaled(self, x, multiplier=1):
        scale = self.scale * multiplier
        return self.bypass(x) * scale

    def forward(self, x):
        return self.base(x) + self.scaled(x)
"""


def test_numbers_that_are_joined_with_what_is_out_of_sight_are_silent(tmp_path: Path) -> None:
    """So many ways that one scale stands for all: the steps still tell what was multiplied."""
    assert codes(tmp_path, lora_module=MANY_WAYS) == []


# ---- LS114 -----------------------------------------------------------------------------------

RATIOS = [
    """
def merge_models(models, ratios):
    merged = {}
    for model, ratio in zip(models, ratios):
        state = load_file(model)
        for key in state.keys():
            if ".lora_" in key:
                merged[key] = merged.get(key, 0) + state[key] * math.sqrt(alpha_of(key)) * ratio
    return merged
""",
    """
def merge_into_model(weight, lora_up, lora_down, strength):
    return weight + strength * (lora_up @ lora_down)


def combine(first, second, strength):
    merged = {}
    for key, value in first.items():
        if "lora_up" in key or "lora_down" in key or "lora_mid" in key:
            pass
        merged[key] = value * strength + second[key]
    return merged
""",
    """
def add_lora(module, lora_A, lora_B, alpha_1):
    module.weight.data += torch.mm(alpha_1 * lora_B, alpha_1 * lora_A)
""",
    """
class LoRAMixer:
    def delta(self, weight_a):
        up = self.lora_up.weight.float() * weight_a
        down = self.lora_down.weight.float() * weight_a
        return up.matmul(down)
""",
]

FAIR_RATIOS = [
    """
def delta(lora_up, lora_down, ratio):
    root = math.sqrt(ratio)
    return (lora_up * root) @ (lora_down * root)
""",
    """
def delta(lora_up, lora_down, ratio, scale):
    return (lora_up * ratio) @ (lora_down * scale)
""",
    """
def average(models, weights):
    merged = {}
    for model, weight in zip(models, weights):
        state = load_file(model)
        for key in state.keys():
            if ".lora_" in key:
                merged[key] = merged.get(key, 0) + state[key] * weight
    return merged
""",
    """
def merge_models(models, ratios):
    merged = {}
    for model, ratio in zip(models, ratios):
        state = load_file(model)
        for key in state.keys():
            if "lora_up" in key:
                merged[key] = state[key] * math.sqrt(2) * ratio
            else:
                merged[key] = state[key]
    return merged
""",
]


@pytest.mark.parametrize("source", RATIOS)
def test_ratio_on_both_factors(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_merge=source) == ["LS114"]


@pytest.mark.parametrize("source", FAIR_RATIOS)
def test_fair_ratios_are_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_merge=source) == []


# ---- LS406 -----------------------------------------------------------------------------------

KINDS = [
    """
def create_network(unet, network_dim=4, network_alpha=1.0, **kwargs):
    conv_dim = kwargs.get("conv_dim")
    conv_alpha = kwargs.get("conv_alpha", 1.0)
    return LoRAModule(unet, lora_dim=kwargs["conv_dim"], alpha=network_alpha)
""",
    """
def add_lora(text_encoder, unet, rank, alpha, text_rank, text_alpha):
    inject(unet, LoraLayer(rank, alpha))
    inject(text_encoder, LoraLayer(text_rank, alpha))
""",
    """
class LoRANetwork:
    def __init__(self, conv_rank, conv_alpha, rank, alpha):
        self.conv_rank, self.conv_alpha = conv_rank, conv_alpha
        self.rank, self.alpha = rank, alpha

    def make(self, module, is_linear):
        return LoRAModule(module, self.rank if is_linear else self.conv_rank, self.alpha)
""",
    """
def wrap(model, args):
    for name, module in model.named_modules():
        if is_expert(name):
            swap(model, name, LoRALinear(module, r=int(args.expert_r), lora_alpha=float(args.lora_alpha)))
    print(args.expert_alpha)
""",
]

FAIR_KINDS = [
    KINDS[1].replace("text_rank, alpha)", "text_rank, text_alpha)"),
    KINDS[1].replace("text_rank, text_alpha", "text_rank").replace("alpha, text_rank", "alpha, text_rank"),
    KINDS[2].replace("self.alpha)\n", "self.alpha if is_linear else self.conv_alpha)\n"),
    """
def wrap(model, lora_rank, lora_alpha, max_rank, max_alpha):
    return LoRALinear(model, max_rank, lora_alpha)
""",
    # one alpha, and an entry of a summary that is called otherwise
    KINDS[3].replace(
        "print(args.expert_alpha)", 'return {"expert_rank": args.expert_r, "expert_alpha": args.lora_alpha}'
    ),
]


@pytest.mark.parametrize("source", KINDS)
def test_alpha_of_another_kind(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_network=source) == ["LS406"]


@pytest.mark.parametrize("source", FAIR_KINDS)
def test_alpha_of_the_kind_is_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_network=source) == []


# ---- LS407 -----------------------------------------------------------------------------------

LOKR = """
class LokrLayer(nn.Module):
    def __init__(self, shape, lora_dim, alpha, full):
        if lora_dim < 8:
            self.lokr_w1_a = nn.Parameter(torch.empty(shape[0], lora_dim))
            self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, shape[1]))
        else:
            self.lokr_w1 = nn.Parameter(torch.empty(shape[0], shape[1]))
        if full:
            self.lokr_w2 = nn.Parameter(torch.empty(shape[2], shape[3]))
        else:
            self.lokr_w2_a = nn.Parameter(torch.empty(shape[2], lora_dim))
            self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, shape[3]))
        alpha = lora_dim if alpha is None or alpha == 0 else alpha
        SCALE
"""

STORED = 'self.register_buffer("alpha", torch.tensor(alpha))'
SCALES = [
    f"self.scale = alpha / lora_dim\n        {STORED}",
    f"{STORED}\n        self.scaling = float(alpha) / float(lora_dim)",
    f"self.lora_dim = lora_dim\n        {STORED}\n        self.scale = alpha / self.lora_dim",
    f"factor = alpha / lora_dim\n        self.scale = factor\n        {STORED}",
]


@pytest.mark.parametrize("scale", SCALES)
def test_full_kronecker_factors(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lokr_layer=LOKR.replace("SCALE", scale)) == ["LS407"]


@pytest.mark.parametrize(
    "scale",
    [
        "self.scale = alpha / lora_dim",
        f"if hasattr(self, 'lokr_w1') and self.use_w1 and self.use_w2:\n            alpha = lora_dim\n"
        f"        self.scale = alpha / lora_dim\n        {STORED}",
        f"self.scale = 1.0 if self.full_matrices else alpha / lora_dim\n        {STORED}",
    ],
)
def test_lokr_that_knows_is_silent(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lokr_layer=LOKR.replace("SCALE", scale)) == []


# ---- LS408 -----------------------------------------------------------------------------------

DORA = """
class DoRALayer(nn.Module):
    def __init__(self, base, rank, alpha, use_dora=False):
        self.lora_A = nn.Linear(8, rank, bias=False)
        self.lora_B = nn.Linear(rank, 8, bias=False)
        self.alpha = alpha
        if use_dora:
            self.magnitude = nn.Parameter(base.weight.norm(dim=1))
"""

SAVERS = [
    """
    def custom_state_dict(self):
        return {"alpha": self.alpha, "lora_A.weight": self.lora_A.weight, "lora_B.weight": self.lora_B.weight}
""",
    """
    def export(self, prefix):
        out = {}
        out[f"{prefix}.lora_down.weight"] = self.lora_A.weight.detach().cpu()
        out[prefix + ".lora_up.weight"] = self.lora_B.weight.detach().cpu()
        return out
""",
    """

def load_layer(base, tensors, rank, alpha):
    layer = DoRALayer(base, rank, alpha)
    layer.lora_A.weight.data.copy_(tensors["lora_A.weight"])
    layer.lora_B.weight.data.copy_(tensors["lora_B.weight"])
    return layer
""",
    """

def restore(base, lora_down, lora_up, alpha):
    layer = DoRALayer(base, rank=lora_down.shape[0], alpha=alpha)
    layer.lora_A.weight.data = lora_down
    layer.lora_B.weight.data = lora_up
    return layer
""",
]


@pytest.mark.parametrize("saver", SAVERS)
def test_magnitude_dropped(saver: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_layer=DORA + saver) == ["LS408"]


@pytest.mark.parametrize(
    "saver",
    [
        SAVERS[0].replace('{"alpha"', '{"magnitude": self.magnitude, "alpha"'),
        SAVERS[1].replace(
            "        return out", "        out.update(self.extra_dora_tensors())\n        return out"
        ),
        SAVERS[2].replace("rank, alpha)\n    layer.", "rank, alpha, use_dora=has_magnitude)\n    layer."),
        SAVERS[2].replace("DoRALayer(base, rank, alpha)", "DoRALayer(base, rank, alpha, **options)"),
    ],
)
def test_kept_magnitude_is_silent(saver: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_layer=DORA + saver) == []


# ---- LS409 -----------------------------------------------------------------------------------

RSLORA = [
    """
class LoRALinear:
    def __init__(self, base, r, lora_alpha, use_rslora=False):
        self.base = base
        self.scaling = lora_alpha / r
""",
    """
def make_layer(base, r, lora_alpha, use_rslora):
    if use_rslora:
        print("training with rsLoRA")
    return LoRALinear(base, r, lora_alpha)


class LoRALinear:
    def __init__(self, base, r, lora_alpha, use_rslora=False):
        self.scaling = lora_alpha / (r**0.5 if use_rslora else r)
""",
    """
class LoRALinear:
    def __init__(self, r, lora_alpha, rs_lora=False):
        self.update(r, lora_alpha, rs_lora=rs_lora)

    def update(self, r, lora_alpha, **options):
        self.scaling = lora_alpha / r
""",
    """
class Base:
    def __init__(self, lora_rank, lora_alpha, use_rslora=False):
        self.scaling = lora_alpha / (math.sqrt(lora_rank) if use_rslora else lora_rank)


class LoRAEmbedding(Base):
    def __init__(self, lora_rank, lora_alpha, use_rslora=False):
        super().__init__(lora_rank, lora_alpha)
""",
]

HANDED_ON_WITHOUT = """
class LoRATuner:
    @staticmethod
    def get_peft_model(model, r=16, lora_alpha=16, use_rslora=False, **kwargs):
        model.configure_lora(r=r, lora_alpha=lora_alpha)
        return model
"""

RSLORA += [
    HANDED_ON_WITHOUT,
    HANDED_ON_WITHOUT.replace("model.configure_lora(r=r,", "config = LoraConfig(r=int(r),"),
    HANDED_ON_WITHOUT.replace(
        "model.configure_lora(r=r, lora_alpha=lora_alpha)",
        'model.lora_config = {"rank": r, "alpha": lora_alpha, "dropout": 0.0}',
    ),
    HANDED_ON_WITHOUT.replace("model.configure_lora(r=r,", "wrap(model, r,").replace("use_rslora", "rslora"),
    """
def add_lora_layers(linears, lora_rank, lora_alpha, rank_stabilized=False):
    for name, linear in linears:
        linears[name] = partial(LoRALinear, rank=lora_rank)(linear, lora_rank, float(lora_alpha))
    print("rank stabilized:", rank_stabilized)
""",
]

FAIR_RSLORA = [
    HANDED_ON_WITHOUT.replace(
        "        model.configure",
        "        if use_rslora:\n            warn('no rsLoRA')\n        model.configure",
    ),
    HANDED_ON_WITHOUT.replace("(model, r", "(  # use_rslora is ignored\n        model, r"),
    HANDED_ON_WITHOUT.replace("lora_alpha=lora_alpha", "lora_alpha=lora_alpha, **locals()"),
    HANDED_ON_WITHOUT.replace("lora_alpha=lora_alpha)", "lora_alpha=lora_alpha, rslora=use_rslora)"),
    HANDED_ON_WITHOUT.replace("@staticmethod", "@abstractmethod"),
    HANDED_ON_WITHOUT.replace("model.configure_lora(r=r,", "print(r,"),
    HANDED_ON_WITHOUT.replace(
        "lora_alpha=lora_alpha)", "lora_alpha=lora_alpha * r**0.5 if use_rslora else r)"
    ),
    HANDED_ON_WITHOUT
    + """
    def scale(self):
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)
""",
    RSLORA[0].replace("self.base = base", "if use_rslora:\n            raise ValueError"),
    RSLORA[2].replace("self.scaling", "super().update(r, lora_alpha, **options)\n        self.scaling"),
    RSLORA[3].replace(
        "super().__init__(lora_rank, lora_alpha)", "super().__init__(lora_rank, lora_alpha, use_rslora)"
    ),
    RSLORA[3].replace(
        "super().__init__(lora_rank, lora_alpha)",
        "super().__init__(lora_rank, lora_alpha)\n        self.use_rslora = use_rslora",
    ),
]


@pytest.mark.parametrize("source", RSLORA)
def test_rslora_dropped(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_layer=source) == ["LS409"]


@pytest.mark.parametrize("source", FAIR_RSLORA)
def test_rslora_used_is_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_layer=source) == []


# ---- LS106 across files ------------------------------------------------------------------------

KRON = """
def make_kron(w1, w2, scale):
    for _ in range(w2.dim() - w1.dim()):
        w1 = w1.unsqueeze(-1)
    rebuild = torch.kron(w1, w2.contiguous())
    if scale != 1:
        rebuild = rebuild * scale
    return rebuild  # of lokr
"""

LOKR_WEIGHT = """
from lokr_functions import make_kron, rebuild_tucker


class LokrModule:
    def __init__(self, alpha, lora_dim, rs_lora=False):
        r_factor = math.sqrt(lora_dim) if rs_lora else lora_dim
        self.scale = alpha / r_factor

    def get_weight(self, shape=None):
        first = self.lokr_w1 if self.use_w1 else self.lokr_w1_a @ self.lokr_w1_b
        if self.use_w2:
            second = self.lokr_w2
        elif self.tucker:
            second = rebuild_tucker(self.lokr_t2, self.lokr_w2_a, self.lokr_w2_b)
        else:
            second = self.lokr_w2_a @ self.lokr_w2_b
        weight = make_kron(first, second, self.scale)
        if shape is not None:
            weight = weight.view(shape)
        return weight

    def get_diff_weight(self, multiplier=1):
        return self.get_weight() * SCALE
"""


@pytest.mark.parametrize(
    ("scale", "expected"), [("self.scale * multiplier", ["LS106"]), ("multiplier", [])], ids=["twice", "once"]
)
def test_many_forms_of_one_kronecker_product(scale: str, expected: list[str], tmp_path: Path) -> None:
    paths = [tmp_path / "lokr_functions.py", tmp_path / "lokr_module.py"]
    paths[0].write_text(KRON)
    paths[1].write_text(LOKR_WEIGHT.replace("SCALE", scale))
    assert [finding.code for finding in lint(paths, [], codes=["LS106"]).findings] == expected


OUT_OF_SIGHT = """
from elsewhere import kronecker_weight


class LokrLinear:
    def __init__(self, base, alpha, rank):
        self.base = base
        self.coefficient_of_delta = alpha / rank
        self.lokr_w1 = torch.nn.Parameter(torch.zeros(4, 4))
        self.lokr_w2_a = torch.nn.Parameter(torch.zeros(8, rank))
        self.lokr_w2_b = torch.nn.Parameter(torch.zeros(rank, 8))

    def weight_of_delta(self):
        second = self.lokr_w2_a @ self.lokr_w2_b
        return kronecker_weight(self.lokr_w1, second, self.coefficient_of_delta)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.base.weight + self.weight_of_delta())

    def merge(self, strength=1.0):
        self.base.weight.data += self.weight_of_delta() * SCALE
"""


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("self.coefficient_of_delta * strength", ["LS106"]), ("strength", [])],
    ids=["twice", "once"],
)
def test_kronecker_product_out_of_sight(scale: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "lokr_module.py"
    path.write_text(OUT_OF_SIGHT.replace("SCALE", scale))
    assert [finding.code for finding in lint([path], [], codes=["LS106"]).findings] == expected


# ---- repairs -----------------------------------------------------------------------------------

FLAGGED_LOKR = LOKR.replace(
    "        if lora_dim < 8:", "        self.use_w1 = self.use_w2 = False\n        if lora_dim < 8:"
)
FLAGGED_LOKR = FLAGGED_LOKR.replace(
    "            self.lokr_w1 =", "            self.use_w1 = True\n            self.lokr_w1 ="
).replace("            self.lokr_w2 =", "            self.use_w2 = True\n            self.lokr_w2 =")


def repaired(folder: Path, source: str) -> str:
    """The source after unsafe fixes, which leave nothing of these rules."""
    texts, left = fix_files(folder, {"lora_layer.py": source}, codes=CODES, unsafe=True)
    assert [finding.code for finding in left if finding.code in CODES] == []
    return texts["lora_layer.py"]


def has_fix(folder: Path, source: str) -> bool:
    """Whether the only finding of these rules offers a fix, which is unsafe then."""
    (finding,) = lint_files(folder, {"lora_layer.py": source}, codes=CODES)
    assert finding.fix is None or finding.fix.applicability == "unsafe"
    return finding.fix is not None


@pytest.mark.parametrize(
    ("layer", "condition"),
    [
        (LOKR, 'hasattr(self, "lokr_w1") and hasattr(self, "lokr_w2")'),
        (FLAGGED_LOKR, "self.use_w1 and self.use_w2"),
    ],
)
@pytest.mark.parametrize(("scale", "rank"), [(SCALES[0], "lora_dim"), (SCALES[2], "self.lora_dim")])
def test_full_matrices_take_the_rank_for_alpha(
    layer: str, condition: str, scale: str, rank: str, tmp_path: Path
) -> None:
    source = layer.replace("SCALE", scale)
    before = "        self.lora_dim = lora_dim\n" if rank != "lora_dim" else ""
    added = f"        if {condition}:\n            alpha = {rank}\n"
    head, separator, tail = source.rpartition("== 0 else alpha\n")
    assert repaired(tmp_path, source) == head + separator + before + added + tail.removeprefix(before)


@pytest.mark.parametrize("scale", [SCALES[1], SCALES[3]])
def test_a_scale_that_is_no_quotient_of_names_is_not_repaired(scale: str, tmp_path: Path) -> None:
    assert not has_fix(tmp_path, LOKR.replace("SCALE", scale))


SAVED_BY_NAME = """
    def export(self, prefix):
        out = {}
        out[f"{prefix}.lora_A.weight"] = self.lora_A.weight.detach().cpu()
        out[f"{prefix}.lora_B.weight"] = self.lora_B.weight.detach().cpu()
        return out
"""


@pytest.mark.parametrize(
    ("layer", "condition"),
    [
        (DORA, 'if hasattr(self, "magnitude"):'),
        (
            DORA.replace("        if use_dora:", "        self.use_dora = use_dora\n        if use_dora:"),
            "if self.use_dora:",
        ),
        (DORA.replace("        if use_dora:\n    ", ""), ""),
    ],
)
def test_a_magnitude_is_saved_under_its_name(layer: str, condition: str, tmp_path: Path) -> None:
    indent = " " * (12 if condition else 8)
    added = f'{indent}out[f"{{prefix}}.magnitude"] = self.magnitude\n'
    if condition:
        added = f"        {condition}\n{added}"
    saver = SAVED_BY_NAME.replace("out = {}\n", f"out = {{}}\n{added}")
    assert repaired(tmp_path, layer + SAVED_BY_NAME) == layer + saver


@pytest.mark.parametrize("saver", SAVERS)
def test_a_magnitude_whose_key_is_not_known_is_not_saved(saver: str, tmp_path: Path) -> None:
    assert not has_fix(tmp_path, DORA + saver)


@pytest.mark.parametrize(
    ("index", "before", "after"),
    [
        (0, "lora_alpha / r\n", "lora_alpha / (r ** 0.5 if use_rslora else r)\n"),
        (1, "LoRALinear(base, r, lora_alpha)\n", "LoRALinear(base, r, lora_alpha, use_rslora=use_rslora)\n"),
        (3, "__init__(lora_rank, lora_alpha)\n", "__init__(lora_rank, lora_alpha, use_rslora=use_rslora)\n"),
    ],
)
def test_rslora_is_honoured(index: int, before: str, after: str, tmp_path: Path) -> None:
    assert repaired(tmp_path, RSLORA[index]) == RSLORA[index].replace(before, after)


def test_rslora_that_ends_in_further_arguments_is_not_repaired(tmp_path: Path) -> None:
    assert not has_fix(tmp_path, RSLORA[2])


def test_a_file_with_math_uses_it(tmp_path: Path) -> None:
    assert "/ (math.sqrt(r) if use_rslora else r)\n" in repaired(tmp_path, "import math\n" + RSLORA[0])


LINE = """
class LoraLayer:
    def __init__(self, base, rank, alpha):
        self.base = base
        self.lora_A = nn.Linear(8, rank, bias=False)
        self.lora_B = nn.Linear(rank, 8, bias=False)
        self.scaling = alpha / rank

    def _mixed_forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


class Linear(nn.Module, LoraLayer):
    def forward(self, x, mixed=False):
        if mixed:
            return self._mixed_forward(x)
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


class SVDLinear(nn.Module, LoraLayer):
    def __init__(self, base, rank, alpha):
        LoraLayer.__init__(self, base, rank, alpha)
        self.lora_E = nn.Parameter(torch.ones(rank, 1))

    def merge(self):
        weight = self.lora_B.weight @ (self.lora_A.weight * self.lora_E) * self.scaling
        self.base.weight.data += weight

    def forward(self, x):
        LAST
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "down = self.lora_A.weight * self.lora_E\n        "
            "return self.base(x) + x @ down.T @ self.lora_B.weight.T * self.scaling",
            [],
        ),
        ("return self._mixed_forward(x)", ["LS112"]),
    ],
)
def test_a_path_of_the_class_above_that_only_others_run(
    body: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, lora_module=LINE.replace("LAST", body)) == expected


READER = """\
import torch


def kron_delta(sd, stem):
    alpha, rank = sd[stem + ".alpha"].item(), {start}
    if stem + ".lokr_w1" in sd:
        w1 = sd[stem + ".lokr_w1"]
    else:
        rank = sd[stem + ".lokr_w1_b"].shape[0]
        w1 = sd[stem + ".lokr_w1_a"] @ sd[stem + ".lokr_w1_b"]
    if stem + ".lokr_w2" in sd:
        w2 = sd[stem + ".lokr_w2"]
    else:
        rank = sd[stem + ".lokr_w2_b"].shape[0]
        w2 = sd[stem + ".lokr_w2_a"] @ sd[stem + ".lokr_w2_b"]
    return torch.kron(w1, w2) * ({scale})
"""


@pytest.mark.parametrize(
    ("start", "scale", "found"),
    [
        ("1", "alpha / rank", ["LS407"]),
        ("None", "alpha / rank if rank is not None else alpha", ["LS407"]),
        ("None", "alpha / rank if rank is not None else 1.0", []),
        ("alpha", "alpha / rank", []),
    ],
)
def test_a_reader_of_two_full_matrices(start: str, scale: str, found: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, lokr_reader=READER.format(start=start, scale=scale)) == found
