"""Each way that a value travels: the scale and both factors arrive where the delta is applied."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.ledger.applications import applications, shown_folds
from tests.projects import lint_files
from tests.provenance.formulas import formula_of, ledger_of

TRAINED = "alpha / rank"

# A program for each way; in all of them a pair of factors and alpha / rank come to one merge.
WAYS = {
    "a delta with the bias that a file gives beside it": """
        def merge(weight, layer, alpha, rank):
            delta = layer.lora_up.weight @ layer.lora_down.weight
            if layer.bias is not None:
                delta = delta.reshape(layer.bias.shape)
                delta += layer.bias.to(weight.device)
            return weight + delta.reshape(weight.shape) * (alpha / rank)
    """,
    "a row of pairs that is used when it is full": """
        def merge(weight, loras, rank):
            parts = []
            for lora in loras:
                parts.append(lora)
                if len(parts) == 4:
                    for one in parts:
                        scale = one["lora_alpha"] / rank
                        weight = weight + one["lora_B.weight"] @ one["lora_A.weight"] * scale
                    parts = []
            return weight
    """,
    "entries of a group that is used when it is whole": """
        def merge(weight, loras, rank):
            groups = {}
            for lora in loras:
                tensors = lora["tensors"]
                for key in tensors.keys():
                    if key.endswith(".lora_A.weight"):
                        name = key.removesuffix(".lora_A.weight")
                        if name not in groups:
                            groups[name] = {}
                        parts = groups[name]
                        parts[key] = tensors[key], tensors[name + ".lora_B.weight"]
                        if len(parts) == 3:
                            scale = tensors[name + ".alpha"] / rank
                            for down, up in parts.values():
                                weight = weight + up @ down * scale
            return weight
    """,
    "entries put there before a round is left": """
        def merge(weight, loras, rank):
            held, scales = {}, []
            for lora in loras:
                adapter = lora["tensors"]
                for key in adapter.keys():
                    if key.endswith(".alpha"):
                        scales.append(adapter[key] / rank)
                        continue
                    if key.endswith(".lora_A.weight"):
                        held["down"] = adapter[key]
                        continue
                    held["up"] = adapter[key.replace("lora_A", "lora_B")]
            return weight + loras[0]["tensors"]["x.lora_B.weight"] @ held["down"] * scales[0]
    """,
    "a list in a dictionary, filled before a known row is left": """
        STYLES = (("lora_down", "lora_up"), ("lora_A", "lora_B"))

        def merge(weight, loras, rank):
            groups = {}
            for lora in loras:
                adapter = lora["tensors"]
                for key in adapter.keys():
                    pieces = key.split(".")
                    for down, up in STYLES:
                        if len(pieces) > 2 and pieces[-2] == down:
                            name = ".".join(pieces[:-2])
                            if name not in groups:
                                groups[name] = []
                            pair = adapter[key], adapter[f"{name}.{up}.weight"]
                            groups[name].append((*pair, adapter[f"{name}.alpha"] / rank))
                            break
            for name, parts in groups.items():
                for down, up, scale in parts:
                    weight[name] += up @ down * scale
            return weight
    """,
    "a key that is known by one of its pieces": """
        def merge(weight, loras, rank):
            for lora in loras:
                adapter = lora["tensors"]
                for key in adapter.keys():
                    if "lora_down" in key.split("."):
                        name, up = key.partition(".lora_down")[0], key.replace("lora_down", "lora_up")
                        scale = adapter[name + ".alpha"] / rank
                        weight[name] += adapter[up] @ adapter[key] * scale
            return weight
    """,
    "rows of a tensor of zeros": """
        class LoraLayer:
            def __init__(self, lora_A, lora_B, alpha, rank, rows, width):
                self.lora_A, self.lora_B, self.rows, self.width = lora_A, lora_B, rows, width
                self.scaling = alpha / rank

            def spread(self, x):
                result = x.new_zeros((*x.shape[:-1], self.width))
                result = result.view(-1, self.width)
                result[:, self.rows] = x.reshape(-1, len(self.rows))
                return result.view((*x.shape[:-1], self.width))

            def merge(self, weight):
                weight += self.spread(self.lora_B @ self.lora_A) * self.scaling
    """,
    "an activation that is scaled in place": """
        import torch.nn.functional as F

        def forward(result, data, lora_A, lora_B, alpha, rank):
            x = F.dropout(data, p=0.1)
            x.mul_(alpha / rank)
            return result + x @ lora_A.T @ lora_B.T
    """,
    "rows that are added to by an index": """
        def forward(result, rows, x, lora_A, lora_B, alpha, rank):
            return result.index_add_(0, rows, x @ lora_A.T @ lora_B.T * (alpha / rank))
    """,
    "entry that is made once": """
        def merge(weight, adapters):
            held = {}
            for lora_A, lora_B, name, alpha, rank in adapters:
                if name not in held:
                    held[name] = alpha / rank
                weight = weight + lora_B @ lora_A * held[name]
            return weight
    """,
    "tuple": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = (lora_A, lora_B, alpha / rank)
            return weight + held[1] @ held[0] * held[2]
    """,
    "field that is None at first, asked for in an expression": """
        class LoraLayer:
            def __init__(self, lora_A, lora_B, alpha, rank, ready):
                self.pair = None
                if ready:
                    self.pair = (lora_A, lora_B * (alpha / rank))

            def merge(self, weight):
                pair = None if self.pair is None else (self.pair[0], self.pair[1])
                if pair is not None:
                    weight += pair[1] @ pair[0]
    """,
    "autograd function": """
        import torch

        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx, up, down, gamma):
                return up @ down * gamma

        def merge(weight, lora_A, lora_B, alpha, rank):
            return weight + Product.apply(lora_B, lora_A, alpha / rank)
    """,
    "unpacked": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            down, (up, number) = lora_A, (lora_B, alpha / rank)
            return weight + up @ down * number
    """,
    "unpacked from what may be missing": """
        def merge(weight, adapters, alpha, rank):
            data = adapters.get("default")
            lora_A, lora_B = data
            return weight + lora_B @ lora_A * (alpha / rank)
    """,
    "two parameters whose extents alone tell them": """
        import torch
        from torch import nn

        class LoraPair(nn.Module):
            def __init__(self, base, width, rank, alpha):
                self.base = base
                self.first = nn.Parameter(torch.randn(width, rank) * 0.01)
                self.second = nn.Parameter(torch.zeros(rank, width))
                self.scaling = alpha / rank

            def forward(self, x):
                return self.base(x) + x @ self.first @ self.second * self.scaling
    """,
    "starred unpacking": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            number, *pair = alpha / rank, lora_A, lora_B
            return weight + pair[1] @ pair[0] * number
    """,
    "list": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = [lora_A, lora_B]
            held[0] = held[0] * (alpha / rank)
            return weight + held[-1] @ held[0]
    """,
    "dataclass": """
        from dataclasses import dataclass

        @dataclass
        class Pair:
            down: object
            up: object
            number: float = 1.0

        def merge_lora(weight, lora_A, lora_B, alpha, rank):
            pair = Pair(lora_A, up=lora_B, number=alpha / rank)
            return weight + pair.up @ pair.down * pair.number
    """,
    "named tuple": """
        from typing import NamedTuple

        class Pair(NamedTuple):
            down: object
            up: object
            number: float

        def merge_lora(weight, lora_A, lora_B, alpha, rank):
            pair = Pair(lora_A, lora_B, alpha / rank)
            return weight + pair.up @ pair.down * pair[2]
    """,
    "collections.namedtuple": """
        from collections import namedtuple

        Pair = namedtuple("Pair", ["down", "up", "number"])

        def merge_lora(weight, lora_A, lora_B, alpha, rank):
            pair = Pair(lora_A, lora_B, number=alpha / rank)
            return weight + pair.up @ pair.down * pair.number
    """,
    "collections.namedtuple of names that are none": """
        from collections import namedtuple

        Pair = namedtuple("Pair", ["down", "up", "global number", "class"], rename=True)

        def merge_lora(weight, lora_A, lora_B, alpha, rank):
            pair = Pair(lora_A, lora_B, alpha / rank, None)
            return weight + pair.up @ pair.down * pair._2
    """,
    "every second item, and from the end": """
        def merge_lora(weight, lora_A, lora_B, alpha, rank):
            held = [lora_B, alpha / rank, lora_A, 1.0]
            up, down = held[::2]
            _, number = held[::-2]
            return weight + up @ down * number
    """,
    "dict literal": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {"x": lora_A, "y": lora_B, "z": alpha / rank}
            return weight + held["y"] @ held["x"] * held["z"]
    """,
    "dict call": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = dict(x=lora_A, y=lora_B, z=alpha / rank)
            return weight + held["y"] @ held["x"] * held.get("z")
    """,
    "f-string key": """
        def merge(weight, state, name, rank):
            x = state[f"{name}.lora_down.weight"]
            y = state[f"{name}.lora_up.weight"]
            return weight + y @ x * (state[f"{name}.alpha"] / x.shape[0])
    """,
    "formatted key": """
        def merge(weight, state, name, prefix=None):
            x = state["{}.lora_down.weight".format(name)]
            y = state["{0}.{side}.weight".format(name, side="lora_up")]
            return weight + y @ x * (state["{}.alpha".format(name)] / x.shape[0])
    """,
    "a record that a loader fills": """
        class Block:
            def __init__(self):
                self.up = None
                self.down = None
                self.alpha = None

            def merge_lora(self, weight):
                return weight + self.up @ self.down * (self.alpha / self.down.shape[0])

        def load(state):
            blocks = {}
            for key, value in state.items():
                name, part = key.rsplit(".", 1)
                setattr(blocks.setdefault(name, Block()), part, value)
            return blocks
    """,
    "what another layer has adapted": """
        def forward(x, w1, w2, lora_A, lora_B, lora_A2, lora_B2, alpha, rank):
            scale = alpha / rank
            hidden = act(x @ w1 + (x @ lora_A @ lora_B) * scale)
            return hidden @ w2 + (hidden @ lora_A2 @ lora_B2) * scale
    """,
    "added key": """
        def merge(weight, state, name):
            x, y = state[name + ".lora_down.weight"], state[name + ".lora_up.weight"]
            return weight + y @ x * (state[name + ".alpha"] / x.shape[0])
    """,
    "replaced key": """
        def merge(weight, state):
            for key in state:
                if "lora_down" in key:
                    x = state[key]
                    y = state[key.replace("lora_down", "lora_up")]
                    z = state[key.replace("lora_down.weight", "alpha")]
                    weight += y @ x * (z / x.shape[0])
    """,
    "key without its end": """
        def merge(weight, state):
            for key in state:
                if key.endswith(".lora_A.weight"):
                    name = key.removesuffix(".lora_A.weight")
                    x, y = state[key], state[name + ".lora_B.weight"]
                    weight += y @ x * (state[name + ".alpha"] / x.shape[0])
    """,
    "split key": """
        def merge(weight, state):
            for key in state:
                if ".lora_down" in key:
                    name = key.split(".lora_down")[0]
                    x, y = state[name + ".lora_down.weight"], state[name + ".lora_up.weight"]
                    weight += y @ x * (state[name + ".alpha"] / x.shape[0])
    """,
    "re.sub key": """
        import re

        def merge(weight, state):
            for key, x in state.items():
                if "lora_down" in key:
                    y = state[re.sub("lora_down", "lora_up", key)]
                    z = state[re.sub(r"lora_down\\.weight", "alpha", key)]
                    weight += y @ x * (z / x.shape[0])
    """,
    "sliced key": """
        def merge(weight, state):
            for key in state:
                if key.endswith(".lora_A.weight"):
                    name = key[: -len(".lora_A.weight")]
                    x, y = state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"]
                    weight += y @ x * (state[f"{name}.alpha"] / x.shape[0])
    """,
    "partitioned key": """
        def merge(weight, state):
            for key in state:
                name, found, _ = key.partition(".lora_down")
                if found:
                    x, y = state[name + ".lora_down.weight"], state[name + ".lora_up.weight"]
                    weight += y @ x * (state[name + ".alpha"] / x.shape[0])
    """,
    "zip": """
        def merge(weight, lora_As, lora_Bs, alpha, rank):
            for down, up in zip([lora_As], [lora_Bs]):
                weight += up @ down * (alpha / rank)
    """,
    "enumerate": """
        def merge(weights, lora_A, lora_B, alpha, rank):
            pairs = [(lora_A, lora_B)]
            for index, (down, up) in enumerate(pairs):
                weights[index] += up @ down * (alpha / rank)
    """,
    "list comprehension": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            down, up = [factor.float() for factor in (lora_A, lora_B)]
            return weight + up @ down * (alpha / rank)
    """,
    "dict comprehension": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {name: factor.float() for name, factor in (("x", lora_A), ("y", lora_B))}
            return weight + held["y"] @ held["x"] * (alpha / rank)
    """,
    "loop that fills a dict": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {}
            for name, factor in (("x", lora_A), ("y", lora_B)):
                held[name] = factor
            return weight + held["y"] @ held["x"] * (alpha / rank)
    """,
    "append": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = []
            held.append(lora_A)
            held.append(lora_B)
            return weight + held[1] @ held[0] * (alpha / rank)
    """,
    "extend": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = [alpha / rank]
            held.extend((lora_A, lora_B))
            return weight + held[2] @ held[1] * held[0]
    """,
    "setdefault": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {}
            held.setdefault("pair", []).append(lora_A)
            held.setdefault("pair", []).append(lora_B)
            return weight + held["pair"][1] @ held["pair"][0] * (alpha / rank)
    """,
    "update": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {"x": lora_A}
            held.update({"y": lora_B}, z=alpha / rank)
            return weight + held["y"] @ held["x"] * held["z"]
    """,
    "pop": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            held = {"x": lora_A, "y": lora_B}
            rest = [alpha / rank]
            return weight + held.pop("y") @ held.pop("x") * rest.pop()
    """,
    "setattr and getattr": """
        class LoraLayer:
            def __init__(self, lora_A, lora_B, alpha, rank):
                for name, value in (("x", lora_A), ("y", lora_B), ("z", alpha / rank)):
                    setattr(self, f"kept_{name}", value)

            def merge(self, weight):
                return weight + self.kept_y @ getattr(self, "kept_x") * getattr(self, "kept_" + "z")
    """,
    "register_buffer": """
        import torch
        from torch import nn

        class LoraLayer(nn.Module):
            def __init__(self, size, rank, alpha):
                super().__init__()
                self.register_buffer("x", torch.zeros(rank, size))
                self.register_parameter("lora_A", nn.Parameter(torch.zeros(rank, size)))
                self.register_parameter("lora_B", nn.Parameter(torch.zeros(size, rank)))
                self.register_buffer("number", torch.tensor(alpha / rank))

            def merge(self, weight):
                return weight + self.lora_B @ self.lora_A * self.number
    """,
    "ParameterDict": """
        import torch
        from torch import nn

        class LoraLayer(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.lora_A, self.lora_B, self.scaling = nn.ParameterDict(), nn.ParameterDict(), {}

            def update_layer(self, name, size, rank, alpha):
                self.lora_A[name] = nn.Parameter(torch.zeros(rank, size))
                self.lora_B[name] = nn.Parameter(torch.zeros(size, rank))
                self.scaling[name] = alpha / rank

            def merge(self, weight, name):
                return weight + self.lora_B[name] @ self.lora_A[name] * self.scaling[name]
    """,
    "ModuleDict": """
        from torch import nn

        class LoraLayer(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.lora_A, self.lora_B, self.scaling = nn.ModuleDict({}), nn.ModuleDict({}), {}

            def update_layer(self, name, size, rank, lora_alpha):
                self.lora_A.update(nn.ModuleDict({name: nn.Linear(size, rank, bias=False)}))
                self.lora_B[name] = nn.Linear(rank, size, bias=False)
                self.scaling[name] = lora_alpha / rank

            def merge(self, weight, name):
                return weight + self.lora_B[name].weight @ self.lora_A[name].weight * self.scaling[name]
    """,
    "ModuleList": """
        from torch import nn

        class LoraLayer(nn.Module):
            def __init__(self, size, rank, alpha):
                super().__init__()
                self.both = nn.ModuleList([nn.Linear(size, rank), nn.Linear(rank, size)])
                self.lora_A, self.lora_B = self.both
                self.number = alpha / rank

            def forward(self, x, base):
                return base(x) + self.lora_B(self.lora_A(x)) * self.number
    """,
    "property": """
        class LoraLayer:
            def __init__(self, lora_A, lora_B, alpha, rank):
                self.lora_A, self.lora_B, self.alpha, self.rank = lora_A, lora_B, alpha, rank

            @property
            def number(self):
                return self.alpha / self.rank

            def merge(self, weight):
                return weight + self.lora_B @ self.lora_A * self.number
    """,
    "class attribute": """
        class LoraLayer:
            names = ("lora_A", "lora_B")

            def merge(self, weight, alpha, rank):
                down, up = (getattr(self, name) for name in self.names)
                return weight + up @ down * (alpha / rank)
    """,
    "closure": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            def number():
                return alpha / rank

            return weight + lora_B @ lora_A * number()
    """,
    "lambda": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            number = lambda top, bottom=rank: top / bottom
            return weight + lora_B @ lora_A * number(alpha)
    """,
    "partial": """
        from functools import partial

        def delta(down, up, number):
            return up @ down * number

        def merge(weight, lora_A, lora_B, alpha, rank):
            made = partial(delta, lora_A, number=alpha / rank)
            return weight + made(lora_B)
    """,
    "decorator that passes through": """
        import functools

        def logged(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                print(function)
                return function(*args, **kwargs)

            return wrapper

        @logged
        def number(alpha, rank):
            return alpha / rank

        def merge(weight, lora_A, lora_B, alpha, rank):
            return weight + lora_B @ lora_A * number(alpha, rank=rank)
    """,
    "star arguments": """
        def delta(*factors, **numbers):
            return factors[1] @ factors[0] * numbers["number"]

        def merge(weight, lora_A, lora_B, alpha, rank):
            given, named = [lora_A, lora_B], {"number": alpha / rank}
            return weight + delta(*given, **named)
    """,
    "generator": """
        def factors(down, up):
            yield down
            yield up

        def merge(weight, lora_A, lora_B, alpha, rank):
            down, up = factors(lora_A, lora_B)
            return weight + up @ down * (alpha / rank)
    """,
    "match": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            match (lora_A, lora_B):
                case (down, up):
                    return weight + up @ down * (alpha / rank)
    """,
    "match of a dict": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            match {"x": lora_A, "y": lora_B}:
                case {"x": down, "y": up}:
                    return weight + up @ down * (alpha / rank)
    """,
    "walrus": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            if (number := alpha / rank) and (down := lora_A) is not None:
                weight = weight + lora_B @ down * number
            return weight
    """,
    "registry": """
        class LoRAAdapter:
            def __init__(self, down, up):
                self.down, self.up = down, up

            def delta(self, number):
                return self.up @ self.down * number

        ADAPTERS = {"lora": LoRAAdapter}

        def merge(weight, lora_A, lora_B, alpha, rank):
            adapter = ADAPTERS["lora"](lora_A, lora_B)
            return weight + adapter.delta(alpha / rank)
    """,
    "super": """
        class Base:
            def __init__(self, alpha, rank):
                self.number = alpha / rank

        class LoraLayer(Base):
            def __init__(self, lora_A, lora_B, alpha, rank):
                super().__init__(alpha, rank)
                self.down, self.up = lora_A, lora_B

            def merge(self, weight):
                return weight + self.up @ self.down * self.number
    """,
    "mixin": """
        class Numbers:
            def number(self):
                return self.alpha / self.rank

        class LoraLayer(Numbers):
            def __init__(self, lora_A, lora_B, alpha, rank):
                self.lora_A, self.lora_B, self.alpha, self.rank = lora_A, lora_B, alpha, rank

            def merge(self, weight):
                return weight + self.lora_B @ self.lora_A * self.number()
    """,
    "conditional expression of equals": """
        def merge(weight, lora_A, lora_B, alpha, rank, fast):
            down = lora_A.half() if fast else lora_A
            return weight + lora_B @ down * (alpha / rank)
    """,
    "map": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            down, up = map(lambda factor: factor.float(), (lora_A, lora_B))
            return weight + up @ down * (alpha / rank)
    """,
    "reversed": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            up, down = reversed([lora_A, lora_B])
            return weight + up @ down * (alpha / rank)
    """,
    "global": """
        ALPHA_KEY, DOWN, UP = "alpha", "lora_down.weight", "lora_up.weight"

        def merge(weight, state, name):
            x, y = state[f"{name}.{DOWN}"], state[f"{name}.{UP}"]
            return weight + y @ x * (state[f"{name}.{ALPHA_KEY}"] / x.size(0))
    """,
    "a function with its own gradient": """
        import torch

        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx, up, down, scale):
                ctx.save_for_backward(up, down)
                return (up @ down) * scale

        def merge(weight, lora_A, lora_B, alpha, rank):
            return weight + Product.apply(lora_B, lora_A, alpha / rank)
    """,
    "a rank in place of an alpha": """
        class Layer:
            def __init__(self, weight, lora_A, lora_B, r, alpha):
                self.weight, self.lora_A, self.lora_B, self.r = weight, lora_A, lora_B, r
                self.scaling = alpha if alpha > 0 else float(r)

            def merge(self):
                self.weight += (self.lora_B @ self.lora_A) * self.scaling / self.r
    """,
    "a number that a tensor keeps": """
        from torch import nn

        class Layer(nn.Module):
            def __init__(self, weight, r, alpha):
                self.weight = weight
                self.alpha = alpha
                self.lora_A = nn.Parameter(self.weight.new_zeros(r, 4))
                self.lora_B = nn.Parameter(self.weight.new_zeros(4, r))
                self.kept = nn.Parameter(self.weight.new_zeros(1), requires_grad=False)
                self.kept.data.fill_(float(r))

            def merge(self):
                self.weight.data += (self.lora_B @ self.lora_A) * self.alpha / (self.kept + 1e-5)
    """,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_scale_arrives(way: str) -> None:
    assert formula_of(WAYS[way]) == [TRAINED]


@pytest.mark.parametrize("names", ['"a b: pass\\nclass C", "down"', '"class", ["down"]', '"Pair", ["x y"]'])
def test_a_record_that_python_does_not_make(names: str, tmp_path: Path) -> None:
    source = f"from collections import namedtuple\nLoRAPair = namedtuple({names})\npair = LoRAPair(1, 2)\n"
    assert lint_files(tmp_path, {"records.py": source}) == ()


HELPER = """
    def number(top, bottom):
        return top / bottom

    def joined(first, second):
        return second @ first
"""
CALLER = """
    def merge(weight, lora_A, lora_B, alpha, rank):
        return weight + {name}joined(lora_A, lora_B) * {name}number(alpha, rank)
"""

# Imports of a helper in a file that has no word of LoRA code.
FILES = {
    "import": ("import maths\n", "maths.", {"maths.py": HELPER}),
    "import as": ("import maths as m\n", "m.", {"maths.py": HELPER}),
    "from import": ("from maths import joined, number\n", "", {"maths.py": HELPER}),
    "star": ("from maths import *\n", "", {"maths.py": HELPER}),
    "re-export": (
        "from package import joined, number\n",
        "",
        {"package/__init__.py": "from package.inner import joined, number", "package/inner.py": HELPER},
    ),
    "re-export under another name": (
        "from package import m\n",
        "m.",
        {"package/__init__.py": "from . import inner as m", "package/inner.py": HELPER},
    ),
    "conditional": (
        "try:\n    from fast_kernels import joined, number\n"
        "except ImportError:\n    from maths import joined, number\n",
        "",
        {"maths.py": HELPER},
    ),
}


@pytest.mark.parametrize("way", FILES)
def test_helpers_in_other_files(way: str) -> None:
    imports, name, others = FILES[way]
    assert formula_of(imports + dedent(CALLER).format(name=name), others) == [TRAINED]


def test_an_import_inside_the_function() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank):
            from maths import joined, number

            return weight + joined(lora_A, lora_B) * number(alpha, rank)
    """
    assert formula_of(source, {"maths.py": HELPER}) == [TRAINED]


def test_a_record_of_alpha_and_rank_needs_no_word_of_lora() -> None:
    source = """
        from dataclasses import dataclass

        @dataclass
        class Numbers:
            r: int = 8
            alpha: float = 8.0

        def merge(weight, lora_A, lora_B, numbers: Numbers):
            return weight + lora_B @ lora_A * (numbers.alpha / numbers.r)
    """
    assert formula_of(source) == ["alpha / rank"]


@pytest.mark.parametrize(
    ("asked", "formula"),
    [
        ("not done", "alpha / rank"),
        ("hasattr(self, 'base')", "alpha / rank"),
        ("self.pending(x)", "1 | alpha / rank"),
        ("done", "1 | alpha / rank"),
    ],
)
def test_a_loop_whose_condition_holds_at_first_is_run(asked: str, formula: str) -> None:
    layer = f"""
    class LoraLinear:
        def __init__(self, base, lora_A, lora_B, rank, lora_alpha):
            self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
            self.rank, self.lora_alpha = rank, lora_alpha

        def forward(self, x):
            scale, done = 1, False
            while {asked}:
                scale, done = self.lora_alpha / self.rank, True
            return self.base(x) + self.lora_B(self.lora_A(x)) * scale
    """
    (found,) = formula_of(dedent(layer))
    assert set(found.split(" | ")) == set(formula.split(" | "))


def test_what_is_put_in_place_of_an_entry_before_a_round_is_left() -> None:
    source = """
        def merge(weight, names, lora_A, lora_B, alpha, rank):
            held = {"scale": alpha / rank}
            for name in names:
                if name.startswith("raw"):
                    held["scale"] = 1.0
                    continue
                weight = weight + 0.0
            return weight + lora_B @ lora_A * held["scale"]
    """
    assert formula_of(source) == ["alpha / rank | 1"]


@pytest.mark.parametrize("asked", ["other.split('.')[-2] == 'lora_A'", "key.split('.')[-2] != 'lora_A'"])
def test_a_piece_of_another_key_says_nothing(asked: str) -> None:
    source = f"""
        def merge(weight, loras, names, lora_alpha):
            for lora in loras:
                tensors = lora["tensors"]
                for key, other in zip(tensors.keys(), names):
                    if {asked}:
                        weight[key] += tensors["x.lora_B.weight"] @ tensors[key]
            return weight
    """
    assert formula_of(source) == []


@pytest.mark.parametrize(("length", "formula"), [(2, ["alpha / rank"]), (3, [])])
def test_the_length_of_a_row_that_a_loop_leaves_alone_is_known(length: int, formula: list[str]) -> None:
    source = f"""
        def merge(weight, layers, lora_A, lora_B, alpha, rank):
            scales, names = [alpha / rank, 1.0], []
            for layer in layers:
                names.append(layer)
                if len(scales) == {length}:
                    weight = weight + lora_B @ lora_A * scales[0]
            return weight
    """
    assert formula_of(source) == formula


def test_a_file_whose_entries_are_cast_one_by_one() -> None:
    source = """
        from safetensors.torch import load_file

        def merge(path, weight, dtype):
            tensors = load_file(path)
            for key in list(tensors.keys()):
                tensors[key] = tensors[key].to(dtype)
            for key in tensors.keys():
                if "lora_down" in key:
                    up, down = tensors[key.replace("lora_down", "lora_up")], tensors[key]
                    rank = down.size()[0]
                    alpha = tensors.get(key[: key.index("lora_down")] + "alpha", rank)
                    scale = alpha / rank
                    weight += up @ down * scale
            return weight
    """
    ledger = ledger_of(source)
    assert [found.formula for found in applications(ledger)] == ["alpha / rank"]
    assert shown_folds(ledger) == []


@pytest.mark.parametrize(
    ("entry", "formulas"),
    [("value.to(device)", ["strength"]), ("value", ["strength"]), ("value.abs().max()", [])],
)
def test_a_table_of_all_entries_of_a_file(entry: str, formulas: list[str]) -> None:
    source = f"""
        from safetensors.torch import load_file

        def merge(weights, path, other, device, strength):
            table, gradients = load_file(path), load_file(other)
            table = {{key: {entry} for key, value in table.items()}}
            for name in {{key.split("lora")[0] for key in gradients.keys()}}:
                one, two = table[f"unet.{{name}}lora.up.weight"], table[f"unet.{{name}}lora.down.weight"]
                weights[name] += one @ two * strength
            return weights
    """
    found = {entry.scale.formula() for entry in ledger_of(source).applies}  # without a trial on a file
    assert sorted(found) == formulas
