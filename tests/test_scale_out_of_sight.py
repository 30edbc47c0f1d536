"""Correct code whose scale is applied where a reader of expressions does not see it: no finding.

Every layer here also scales its forward properly, which is the evidence on which a merge without
the scale would be reported.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A.T @ self.lora_B.T) * SCALE
"""
BARE_MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""

DELTAS = {
    "sum over adapters, then scaled": """
    def merge(self):
        delta = sum(b @ a for a, b in zip(self.lora_A, self.lora_B))
        self.base_layer.weight.data += delta * SCALE
""",
    "masked, then scaled": """
    def merge(self):
        delta = torch.where(self.mask, self.lora_B @ self.lora_A, 0)
        self.base_layer.weight.data += delta * SCALE
""",
    "scaled in a try": """
    def merge(self):
        delta = self.lora_B @ self.lora_A
        try:
            delta = delta * SCALE
        except ZeroDivisionError:
            raise
        self.base_layer.weight.data += delta
""",
    "input scaled before a product": """
    def other(self, x):
        y = x * SCALE
        return self.base_layer(x) + y @ self.lora_A.T @ self.lora_B.T
""",
    "regulariser": """
    def loss(self, x):
        return x + (self.lora_B @ self.lora_A).pow(2).sum()
""",
    "input scaled before a module": """
    def other(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x * SCALE))
""",
    "accumulated in zeros": """
    def merge(self):
        total = torch.zeros_like(self.base_layer.weight)
        for _ in range(2):
            total += self.lora_B @ self.lora_A
        self.base_layer.weight.data += total * SCALE
""",
    "chain of in-place methods": """
    def merge(self):
        delta = self.lora_B @ self.lora_A
        delta.mul_(SCALE).clamp_(-1, 1)
        self.base_layer.weight.data += delta
""",
    "out argument": """
    def merge(self):
        delta = self.lora_B @ self.lora_A
        torch.mul(delta, SCALE, out=delta)
        self.base_layer.weight.data += delta
""",
    "delta kept in an attribute": """
    def merge(self):
        self.delta = self.lora_B @ self.lora_A
        self.delta *= SCALE
        self.base_layer.weight.data += self.delta
""",
    "delta kept in a dictionary": """
    def merge(self):
        deltas = {"w": self.lora_B @ self.lora_A}
        deltas["w"] *= SCALE
        self.base_layer.weight.data += deltas["w"]
""",
    "helper that changes its argument": """
    def merge(self):
        delta = self.lora_B @ self.lora_A
        self.scale_(delta)
        self.base_layer.weight.data += delta

    def scale_(self, delta):
        delta *= SCALE
""",
    "nonlocal": """
    def merge(self):
        delta = self.lora_B @ self.lora_A

        def scale():
            nonlocal delta
            delta = delta * SCALE

        scale()
        self.base_layer.weight.data += delta
""",
    "unknown decorator": """
    @scaled
    def delta(self):
        return self.lora_B @ self.lora_A

    def merge(self):
        self.base_layer.weight.data += self.delta()
""",
    "overridden in a subclass": """
    def delta(self):
        return self.lora_B @ self.lora_A

    def merge(self):
        self.base_layer.weight.data += self.delta()


class ScaledLoRALinear(LoRALinear):
    def delta(self):
        return super().delta() * SCALE
""",
    "number overridden in a subclass": """
    def multiplier(self):
        return 1.0

    def merge(self):
        self.base_layer.weight.data += self.multiplier() * (self.lora_B @ self.lora_A)


class ScaledLoRALinear(LoRALinear):
    def multiplier(self):
        return SCALE
""",
}

FOLDS = {
    "rank out of A and alpha into B": """
    def load(self, A, B):
        self.lora_A = A.div(self.lora_rank)
        self.lora_B = B.mul(self.lora_alpha)
""",
    "copy_": """
    def load(self, A, B, alpha):
        self.lora_A.data.copy_(A)
        self.lora_B.data.copy_(B * (alpha / A.shape[0]))
""",
    "copy_ into a slot": """
    def load(self, index, A, B, alpha):
        self.lora_A[index].copy_(A)
        self.lora_B[index, 0].copy_(B * (alpha / A.shape[0]))
""",
    "torch.mul into the factor": """
    def load(self, A, B, alpha):
        self.lora_A.copy_(A)
        torch.mul(B, alpha / A.shape[0], out=self.lora_B)
""",
    "setattr": """

def fold(layer):
    setattr(layer, "lora_B", layer.lora_B * (layer.lora_alpha / layer.lora_rank))
""",
    "setter with a common name": """
    def update(self, lora_A, lora_B):
        self.lora_A = lora_A
        self.lora_B = lora_B


def load(layers, tensors, lora_alpha):
    for name, layer in layers.items():
        a = tensors[name + ".lora_A"]
        layer.update(a, tensors[name + ".lora_B"] * (lora_alpha / a.shape[0]))
""",
    "state dict, by key": """

def fold(state, lora_alpha, lora_rank):
    for key in state:
        if "lora_B" in key:
            state[key] = state[key] * (lora_alpha / lora_rank)
""",
    "state dict hook": """
    def _load_from_state_dict(self, state, prefix):
        state[prefix + "lora_B"] *= SCALE
""",
    "packed by the object that carries the weights": """
    def set_lora(self, lora_a, lora_b):
        self.lora_A = lora_a
        self.lora_B = lora_b


class LoRAWeights:
    def optimize(self):
        self.lora_b *= self.lora_alpha / self.rank
""",
}

NOT_SEEN_YET = {
    "helper that changes its argument": "effects of a call on its arguments are left out",
    "nonlocal": "rebinding by a nested function is left out",
}


def case(name: str, source: str) -> object:
    reason = NOT_SEEN_YET.get(name)
    marks = [] if reason is None else [pytest.mark.xfail(strict=True, reason=reason)]
    return pytest.param(source.replace("SCALE", "(self.lora_alpha / self.lora_rank)"), id=name, marks=marks)


@pytest.mark.parametrize(
    "source",
    [
        *(case(name, LAYER + text) for name, text in DELTAS.items()),
    ],
)
def test_no_finding(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": source})
    assert [(item.code, item.span.start.row) for item in found] == []


@pytest.mark.parametrize("name", FOLDS)
def test_a_bare_merge_of_folded_factors_is_right(name: str, tmp_path: Path) -> None:
    """The forward, which scales them once more, is another matter: LS121 where it is seen."""
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + BARE_MERGE + FOLDS[name]})
    assert {item.code for item in found} <= {"LS121"}
