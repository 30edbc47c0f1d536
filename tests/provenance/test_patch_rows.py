"""Patches in ComfyUI's rows: their kind says what the tensors are, and the row begins with a strength."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import formula_of

PATCHER = """
import torch

class LoraPatcher:
    def apply(self, rows, weight):
        for row in rows:
            {strength}, patch = row[0], row[{at}]
            if isinstance(patch, list):
                patch = (self.apply(patch[1:], patch[0].clone()),)
            if len(patch) == 1:
                kind = "diff"
            elif len(patch) == 2:
                kind, patch = patch[0], patch[1]
            if kind == "diff":
                weight += {strength} * patch[0]
            elif kind == "{kind}":
                {body}
        return weight
"""
PAIR = """first, second = patch[0].float(), patch[1].float()
                if patch[2] is not None:
                    {strength} *= patch[2] / second.shape[0]
                if patch[3] is not None:
                    core = patch[3].transpose(0, 1).flatten(start_dim=1)
                    second = torch.mm(second.transpose(0, 1).flatten(start_dim=1), core).transpose(0, 1)
                weight += ({strength} * torch.mm(first.flatten(1), second.flatten(1)))"""
HADAMARD = """if patch[2] is not None:
                    {strength} *= patch[2] / patch[1].shape[0]
                if patch[5] is not None:
                    one = torch.einsum("i j k l, j r, i p -> p r k l", patch[5], patch[1], patch[0])
                    two = torch.einsum("i j k l, j r, i p -> p r k l", patch[6], patch[4], patch[3])
                else:
                    one, two = torch.mm(patch[0], patch[1]), torch.mm(patch[3], patch[4])
                weight += {strength} * one * two"""
RAW = "weight += {strength} * torch.mm(patch[0], patch[1])"
SCALED = ["alpha / rank * strength | strength"]


@pytest.mark.parametrize(
    ("kind", "body", "strength", "at", "formulas"),
    [
        ("lora", PAIR, "alpha", 1, SCALED),
        ("lora", PAIR, "amount", 1, SCALED),
        ("loha", HADAMARD, "alpha", 1, SCALED),
        ("lora", RAW, "amount", 1, ["strength"]),
        ("full", RAW, "amount", 1, []),  # another kind
        ("lora", RAW, "amount", 2, []),  # another row
    ],
)
def test_patches(kind: str, body: str, strength: str, at: int, formulas: list[str]) -> None:
    source = PATCHER.format(kind=kind, body=body.format(strength=strength), strength=strength, at=at)
    assert formula_of(source) == formulas
