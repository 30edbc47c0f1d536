"""One merge or forward in many spellings: the same kind and the same effective scale."""

from __future__ import annotations

from textwrap import indent

import pytest

from lorascale_lint.ledger.applications import applications
from tests.provenance.formulas import formula_of, ledger_of

LAYER = """\
import math
from math import sqrt

import torch
import torch.nn.functional as F
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

"""
B, A, W = "self.lora_B", "self.lora_A", "self.base_layer.weight"
S = "(self.lora_alpha / self.lora_rank)"


def xfail(*values: str, reason: str) -> object:
    return pytest.param(*values, marks=pytest.mark.xfail(strict=True, reason=reason))


def found(*lines: str, header: str = "def apply(self, x):", layer: str = LAYER) -> tuple[str, str]:
    """Kind and formula of the only application of a method with the given body."""
    body = indent("\n".join(lines), "    ")
    (application,) = applications(ledger_of(layer + indent(f"{header}\n{body}\n", "    ")))
    return application.kind, application.formula


@pytest.mark.parametrize(
    ("lines", "formula"),
    [
        (f"{W}.data += {B} @ {A}", "1"),
        (f"{W} += {B} @ {A}", "1"),
        (f"{W}.data = {W}.data + {B} @ {A}", "1"),
        (f"{W}.data = {B} @ {A} + {W}.data", "1"),
        (f"{W}.data.add_({B} @ {A})", "1"),
        (f"{W}.data = {W}.data.add({B} @ {A})", "1"),
        (f"{W}.data = torch.add({W}.data, {B} @ {A})", "1"),
        (f"{W}.data += torch.mm({B}, {A})", "1"),
        (f"{W}.data += torch.matmul({B}, {A})", "1"),
        (f"{W}.data += torch.bmm({B}, {A})", "1"),
        (f"{W}.data += {B}.mm({A})", "1"),
        (f"{W}.data += {B}.matmul({A})", "1"),
        (f"{W}.data += torch.einsum('or,ri->oi', {B}, {A})", "1"),
        (f"{W}.data.addmm_({B}, {A})", "1"),
        (f"{W}.data = torch.addmm({W}.data, {B}, {A})", "1"),
        (f"{W}.data = torch.baddbmm({W}.data, {B}, {A})", "1"),
        (f"{W}.data += ({A}.T @ {B}.T).T", "1"),
        (f"{W}.data += ({B}.float() @ {A}.float()).to({W}.dtype)", "1"),
        (f"{W}.data += {B}.weight @ {A}.weight", "1"),
        (f"{W}.data += {B}.weight.data.to(x) @ {A}.weight.data.to(x)", "1"),
        (f"{W}.data += F.linear({B}, {A}.T)", "1"),
        (f"{W}.data += {S} * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += ({B} @ {A}) * {S}", "alpha / rank"),
        (f"{W}.data += {S} * {B} @ {A}", "alpha / rank"),
        (f"{W}.data += ({B} * {S}) @ {A}", "alpha / rank"),
        (f"{W}.data += {B} @ ({A} * {S})", "alpha / rank"),
        (f"{W}.data += {B} @ {A} * self.lora_alpha / self.lora_rank", "alpha / rank"),
        (f"{W}.data += {B} @ {A} / self.lora_rank * self.lora_alpha", "alpha / rank"),
        (f"{W}.data += {B} @ {A} / (self.lora_rank / self.lora_alpha)", "alpha / rank"),
        (f"{W}.data += torch.mul({B} @ {A}, {S})", "alpha / rank"),
        (f"{W}.data += ({B} @ {A}).mul({S})", "alpha / rank"),
        (f"{W}.data += ({B} @ {A}).mul_({S})", "alpha / rank"),
        (f"{W}.data.add_({B} @ {A}, alpha={S})", "alpha / rank"),
        (f"{W}.data = torch.add({W}.data, {B} @ {A}, alpha={S})", "alpha / rank"),
        (f"{W}.data.addmm_({B}, {A}, alpha={S})", "alpha / rank"),
        (f"{W}.data = torch.addmm({W}.data, {B}, {A}, alpha={S})", "alpha / rank"),
        (f"{W}.data = torch.baddbmm({W}.data, {B}, {A}, beta=1, alpha={S})", "alpha / rank"),
        (f"{W}.data += self.lora_alpha * self.lora_rank ** -1 * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += self.lora_alpha / sqrt(self.lora_rank) * ({B} @ {A})", "alpha / sqrt(rank)"),
        (f"{W}.data += self.lora_alpha / math.sqrt(self.lora_rank) * ({B} @ {A})", "alpha / sqrt(rank)"),
        (f"{W}.data += self.lora_alpha * self.lora_rank ** -0.5 * ({B} @ {A})", "alpha / sqrt(rank)"),
        (f"{W}.data += self.lora_alpha / self.lora_rank ** 0.5 * ({B} @ {A})", "alpha / sqrt(rank)"),
        (f"{W}.data += self.lora_alpha / {A}.shape[0] * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += self.lora_alpha / {B}.shape[1] * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += self.lora_alpha / {A}.size(0) * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += float(self.lora_alpha) / self.lora_rank * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data += {S} * {S} * ({B} @ {A})", "alpha^2 / rank^2"),
        (f"{W}.data += 0.5 * ({B} @ {A})", "0.5"),
        (f"{W}.data += 2 * {S} * ({B} @ {A}) / 2", "alpha / rank"),
        (f"{W}.data += x.strength * {S} * ({B} @ {A})", "alpha / rank * strength"),
        (f"{W}.data += self.something(x) * ({B} @ {A})", "unknown"),
        (f"delta = {B} @ {A}\ndelta *= {S}\n{W}.data += delta", "alpha / rank"),
        (f"delta = {B} @ {A}\ndelta.mul_({S})\n{W}.data += delta", "alpha / rank"),
        (f"delta = torch.mm({B}, {A})\ndelta = delta.view(-1)\n{W}.data += delta", "1"),
        (f"s = {S}\nif x:\n    s = 1.0\n{W}.data += s * ({B} @ {A})", "alpha / rank | 1"),
        (f"delta = {B} @ {A}\nif x:\n    delta = delta * {S}\n{W}.data += delta", "alpha / rank | 1"),
        (f"with torch.no_grad():\n    {W}.data += {B} @ {A} * {S}", "alpha / rank"),
        (f"if x:\n    return\n{W}.data += {B} @ {A} * {S}", "alpha / rank"),
        (f"if (d := {B} @ {A}) is not None:\n    {W}.data += d", "1"),
        (f"delta = {B} @ {A}\n{W}.data.copy_({W}.data + delta)", "1"),
        (f"{W}.data[:, 0] += {B} @ {A}", "1"),
        (f"delta = {S} * torch.chain_matmul({B}, {A})\n{W}.data += delta", "alpha / rank"),
    ],
    ids=lambda value: value.replace("self.", "").replace("\n", "; "),
)
def test_merge(lines: str, formula: str) -> None:
    assert found(*lines.split("\n")) == ("merge", formula)


@pytest.mark.parametrize(
    ("line", "formula"),
    [
        (f"{W}.data -= {B} @ {A}", "1"),
        (f"{W}.data -= {S} * ({B} @ {A})", "alpha / rank"),
        (f"{W}.data = {W}.data - {B} @ {A}", "1"),
        (f"{W}.data.sub_({B} @ {A}, alpha={S})", "alpha / rank"),
        (f"{W}.data = torch.sub({W}.data, {B} @ {A})", "1"),
    ],
    ids=lambda value: value.replace("self.", ""),
)
def test_unmerge(line: str, formula: str) -> None:
    assert found(line) == ("unmerge", formula)


@pytest.mark.parametrize(
    "line",
    [f"{W}.data += -({B} @ {A})", f"{W}.data.add_({B} @ {A}, alpha=-1)", f"{W}.data += -1 * ({B} @ {A})"],
    ids=["minus", "alpha", "factor"],
)
def test_adding_the_negative_is_an_unmerge(line: str) -> None:
    assert found(line) == ("unmerge", "1")


BASE = "self.base_layer(x)"


@pytest.mark.parametrize(
    ("lines", "formula"),
    [
        (f"return {BASE} + x @ {A}.T @ {B}.T", "1"),
        (f"return {BASE} + (x @ {A}.T @ {B}.T) * {S}", "alpha / rank"),
        (f"return {BASE} + x @ {A}.T @ {B}.T * {S}", "alpha / rank"),
        (f"return {BASE} + x @ {A}.transpose(0, 1) @ {B}.transpose(0, 1) * {S}", "alpha / rank"),
        (f"return {BASE} + x @ {A} @ {B} * {S}", "alpha / rank"),
        (f"return {BASE} + F.linear(F.linear(x, {A}), {B})", "1"),
        (f"return {BASE} + F.linear(F.linear(x, {A}), {B}) * {S}", "alpha / rank"),
        (f"return {BASE} + F.linear(F.linear(x, {A} * {S}), {B})", "alpha / rank"),
        (f"return {BASE} + F.linear(x, {B} @ {A}) * {S}", "alpha / rank"),
        (f"return {BASE} + {B}({A}(x))", "1"),
        (f"return {BASE} + {B}({A}(x)) * {S}", "alpha / rank"),
        (f"return {BASE} + {B}({A}(x) * {S})", "alpha / rank"),
        (f"return {BASE} + {B}({A}(self.dropout(x))) * {S}", "alpha / rank"),
        (f"return {BASE} + {B}(self.lora_dropout({A}(x))) * {S}", "alpha / rank"),
        (f"return {BASE} + {B}({A}(F.dropout(x, 0.1))) * {S}", "alpha / rank"),
        (f"out = {BASE}\nout += {B}({A}(x))\nreturn out", "1"),
        (f"out = {BASE}\nreturn out.add_({B}({A}(x)))", "1"),
        (f"h = {A}(x)\nh = {B}(h)\nh = h * {S}\nreturn {BASE} + h", "alpha / rank"),
        (f"return {BASE} + torch.matmul(torch.matmul(x, {A}.T), {B}.T) * {S}", "alpha / rank"),
        (f"return {BASE} + {B}({A}(x.to({A}.weight.dtype))).to(x.dtype) * {S}", "alpha / rank"),
        (f"return torch.add({BASE}, {B}({A}(x)), alpha={S})", "alpha / rank"),
        (f"return torch.addmm({BASE}, x @ {A}.T, {B}.T, alpha={S})", "alpha / rank"),
        (f"return torch.baddbmm({BASE}, x @ {A}.T, {B}.T, alpha={S})", "alpha / rank"),
        (f"return {BASE} + {S} * ((x @ {A}.T) @ {B}.T)", "alpha / rank"),
        (f"return F.linear(x, {W}) + x @ ({B} @ {A}).T", "1"),
        (f"out, bias = {BASE}\nreturn out + {B}({A}(x)), bias", "1"),
    ],
    ids=lambda value: value.replace("self.", "").replace("\n", "; "),
)
def test_forward(lines: str, formula: str) -> None:
    assert found(*lines.split("\n")) == ("forward", formula)


def test_every_branch_is_an_application_of_its_own() -> None:
    source = (
        LAYER
        + f"""\
    def merge(self, cond):
        if cond:
            data = {W}.data
            data += {B} @ {A}
        else:
            {W}.data += {S} * ({B} @ {A})
"""
    )
    assert formula_of(source) == ["1", "alpha / rank"]


@pytest.mark.parametrize(
    "line",
    [
        f"delta = {B} @ {A}\nreturn delta",
        f"loss = {B} @ {A}\nreturn loss * 2",
        "alpha = self.lora_alpha + 1",
        f"return {B} @ {A} + {B} @ {A}",
        f"return x @ {A} + 1",
        f"return {B} + {A}",
    ],
    ids=lambda value: value.replace("\n", "; "),
)
def test_no_application(line: str) -> None:
    body = indent(f"def other(self, x):\n{indent(line, '    ')}\n", "    ")
    assert formula_of(LAYER + body) == []


HEIRS = """
    def merge(self):
        delta = self.product(self.lora_A, self.lora_B)
        self.base_layer.weight.data += delta * (self.lora_alpha / self.lora_rank)


class LoRAConv1d(LoRALinear):
    def __init__(self, *args):
        super().__init__(*args)
        self.product = F.conv1d


class LoRAConv2d(LoRALinear):
    def __init__(self, *args):
        super().__init__(*args)
        self.product = {second}
"""


@pytest.mark.parametrize(
    ("second", "formulas"),
    [("F.conv2d", {"alpha / rank"}), ("load(args)", {"alpha / rank", "unknown"})],
)
def test_what_a_class_leaves_to_its_heirs(second: str, formulas: set[str]) -> None:
    """The product is out of sight in the class that merges, and known in all that inherit from it, or not."""
    (application,) = applications(ledger_of(LAYER + HEIRS.format(second=second)))
    assert set(application.formula.split(" | ")) == formulas
