"""What the ledger says of the state of objects: tables, flags, weights that are saved and put back."""

from __future__ import annotations

import ast

import pytest

from lorascale_lint.ledger.backups import backups, in_place, shared_backups
from lorascale_lint.ledger.dropped import dropped_weights
from lorascale_lint.ledger.inverses import direction
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.switches import switches
from tests.provenance.formulas import formula_of, ledger_of

LAYER = """
import torch
from torch import nn

class LoraLinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, scaling):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scaling = scaling
        self.merged = False
        self.backup = None

    def delta(self):
        return self.lora_B @ self.lora_A * self.scaling

    def merge(self):
        {merge}
        self.merged = True

    def unmerge(self):
        {unmerge}
        self.merged = False
"""
WEIGHT = "self.base_layer.weight.data"


def ledger(merge: str, unmerge: str = "pass") -> Ledger:
    return ledger_of(LAYER.format(merge=merge, unmerge=unmerge))


@pytest.mark.parametrize(
    ("merge", "changes"),
    [
        (f"{WEIGHT} += self.delta()", True),
        (f"{WEIGHT}.add_(self.delta())", True),
        (f"weight = {WEIGHT}\n        weight += self.delta()", True),
        (f"{WEIGHT} = {WEIGHT} + self.delta()", False),
        (f"weight = {WEIGHT}.to('cuda')\n        weight += self.delta()", False),
    ],
)
def test_merges_that_change_the_memory_of_the_weight(merge: str, changes: bool) -> None:
    (apply,) = [entry for entry in ledger(merge).applies if entry.kind == "merge"]
    assert in_place(apply) is changes


@pytest.mark.parametrize("back", [f"{WEIGHT} = self.backup", f"{WEIGHT}.copy_(self.backup)"])
@pytest.mark.parametrize(
    ("saved", "shared"), [(WEIGHT, True), (f"{WEIGHT}.detach()", True), (f"{WEIGHT}.clone()", False)]
)
def test_backups(saved: str, shared: bool, back: str) -> None:
    found = ledger(f"self.backup = {saved}\n        {WEIGHT} += self.delta()", back)
    (backup,) = backups(found)
    assert (backup.field, len(backup.stores), len(backup.put_back)) == ("backup", 1, 1)
    assert bool(list(shared_backups(found))) is shared


@pytest.mark.parametrize(
    ("unmerge", "dropped"),
    [
        (f"{WEIGHT} - self.delta()", True),
        (f"{WEIGHT}.sub(self.delta())", True),
        (f"torch.sub({WEIGHT}, self.delta()).float()", True),
        (f"new = {WEIGHT} - self.delta()", True),
        (f"new = {WEIGHT} - self.delta()\n        print(new)", False),
        (f"new = {WEIGHT} - self.delta()\n        def later():\n            return new", False),
        (
            f"for _ in range(2):\n            print(locals())\n            new = {WEIGHT} - self.delta()",
            False,
        ),
        (f"{WEIGHT} = {WEIGHT} - self.delta()", False),
        (f"{WEIGHT}.sub_(self.delta())", False),
        (f"return {WEIGHT} - self.delta()", False),
    ],
)
def test_sums_that_go_nowhere(unmerge: str, dropped: bool) -> None:
    assert bool(list(dropped_weights(ledger("pass", unmerge)))) is dropped


@pytest.mark.parametrize(
    ("delta", "way"),
    [("self.delta()", "out_in"), ("self.delta().T", "in_out"), ("self.delta().T.T", "out_in")],
)
def test_which_way_a_delta_lies(delta: str, way: str) -> None:
    (apply,) = [e for e in ledger(f"{WEIGHT} += {delta}").applies if e.kind == "merge"]
    assert direction(apply) == way


def test_a_flag_that_code_beside_the_class_sets_is_not_known_inside() -> None:
    source = LAYER.format(
        merge=f"{WEIGHT} += self.delta()",
        unmerge=f"if self.off:\n            return\n        {WEIGHT} -= self.delta()",
    ).replace("self.backup = None", "self.off = False")
    (switch,) = switches(ledger_of(source + "\n\ndef stop(layer):\n    layer.off = True\n"))
    assert (switch.merged, switch.disabled, switch.unmerge.name) == ("merged", "off", "unmerge")


def test_what_a_class_body_makes_is_filled_by_the_methods() -> None:
    source = """
class LoraPipeline:
    layers: dict = {}

    def convert(self, name, layer):
        self.layers[name] = layer

    def load_lora(self, alpha):
        for name, layer in self.layers.items():
            layer.alpha = alpha
"""
    assert [store.field for store in ledger_of(source).stores] == ["alpha"]


def test_a_table_that_is_made_of_itself_does_not_grow() -> None:
    source = """
class LoraLayer:
    def again(self, name):
        self.scaling[name] = self.scaling[name] * self.lora_alpha[name] / self.r[name]
"""
    values = {ast.unparse(w.spot.node): w.value for w in ledger_of(source).writes}
    assert [value.scale.formula() for value in values.values()] == ["alpha / rank * scaling"]  # type: ignore[attr-defined]


def test_the_class_that_is_asked_for_and_what_is_kept() -> None:
    source = """
from peft.tuners.lora import LoraLayer

def collect_lora(model, found):
    for module in model.modules():
        if isinstance(module, LoraLayer):
            found.append(module.scaling)
"""
    told = ledger_of(source)
    assert [(ask.how, getattr(ask.other, "name", "")) for ask in told.asks] == [
        ("isinstance", "peft.tuners.lora.LoraLayer")
    ]
    assert [use.name for use in told.uses] == ["found.append"]


def test_a_flag_that_only_a_method_sets_is_not_set_before() -> None:
    source = """
        class LoraLinear:
            def merge(self):
                if self.merged:
                    return
                self.merged = True
                self.weight.data += self.lora_B @ self.lora_A * (self.alpha / self.rank)
    """
    assert len(ledger_of(source).applies) == 1


def test_a_setter_that_gives_the_trained_scale_a_strength_is_another_state() -> None:
    source = """
        class LoraLayer:
            def __init__(self, weight, lora_A, lora_B, alpha, rank):
                self.weight, self.lora_A, self.lora_B = weight, lora_A, lora_B
                self.alpha, self.rank = alpha, rank
                self.scale = alpha / rank

            def set_scale(self, strength):
                self.scale = strength * self.alpha / self.rank

            def merge(self):
                self.weight.data += self.lora_B @ self.lora_A * self.scale
    """
    assert formula_of(source) == ["alpha / rank | alpha / rank * strength"]


def test_what_a_setter_multiplies_onto_a_field_does_not_grow_with_each_look() -> None:
    source = """
        class LoraLayer:
            def __init__(self, weight, lora_A, lora_B, alpha, rank):
                self.weight, self.lora_A, self.lora_B = weight, lora_A, lora_B
                self.scale = alpha / rank

            def rescale(self, strength):
                self.scale *= strength

            def merge(self):
                self.weight.data += self.lora_B @ self.lora_A * self.scale
    """
    assert formula_of(source) == ["alpha / rank | alpha / rank * strength"]


def test_a_function_inside_a_branch_knows_what_holds_there() -> None:
    source = """
        def patch_with_lora(layer, lora_A, lora_B, alpha, rank):
            if lora_A is not None and lora_B is not None:
                lora_A = lora_A * (alpha / rank)

                def hook(module, args, output):
                    return output + args[0] @ lora_A.T @ lora_B.T

                layer.register_forward_hook(hook)
            return layer
    """
    assert formula_of(source) == ["alpha / rank"]


def test_both_branches_of_a_condition_of_two_parts_exclude_each_other() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank, early, ready):
            if early and ready:
                first, second = alpha / rank, 1.0
            else:
                first, second = 1.0, alpha / rank
            return weight + (lora_B * first) @ (lora_A * second)
    """
    assert formula_of(source) == ["alpha / rank"]


def test_what_each_object_has_is_not_asked_of_its_hook() -> None:
    layer = """
    from torch import nn

    class LoraLinear(nn.Module):
        def __init__(self, base, rank, lora_alpha):
            self.base = base
            self.lora_A = nn.Linear(4, rank)
            self.lora_B = nn.Linear(rank, 4)
            self.scaling = lora_alpha / rank

        def __getattr__(self, name):
            return self.lora_A

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.__dict__["lora_scaling"]
    """
    assert formula_of(layer) == ["scaling"]
