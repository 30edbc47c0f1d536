"""Every operation of the table that torch or numpy has does there what the table says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

from lorascale_lint.knowledge.operations import OPERATIONS, WHOLE  # noqa: E402 - after the check for torch

functional, init = torch.nn.functional, torch.nn.init
OWNERS: dict[str, Any] = {
    "torch": torch,
    "Tensor": torch.Tensor,
    "functional": functional,
    "init": init,
    "linalg": torch.linalg,
    "checkpoint": SimpleNamespace(checkpoint=torch.utils.checkpoint.checkpoint),
    "numpy": np,
    "ndarray": np.ndarray,
}
NOT_RUN = {
    "cuda": "needs a GPU",
    "pin_memory": "needs a GPU",
    "grouped_mm": "needs a GPU",
    "_grouped_mm": "needs a GPU",
    "compile": "wraps a function",
    "jit": "a module",
    "vmap": "wraps a function",
    "promote_types": "takes types",
    "requires_grad": "a flag",
    "wait": "takes a future",
    "index": "a name that torch has for another purpose",
    "info": "a logger's method; numpy prints its own help",
    "log": "a logger's method; torch has a logarithm",
    "unwrap": "a method of wrapped modules; numpy has one for phases",
}
"""Names that torch or numpy has and that cannot be run here as the table means them."""


def pairs() -> list[tuple[str, str]]:
    """Name and owner of everything that is run."""
    return [
        (name, owner)
        for name, effect in OPERATIONS.items()
        if name not in NOT_RUN and effect != "nothing"
        for owner, library in OWNERS.items()
        if callable(getattr(library, name, None)) or (isinstance(library, type) and hasattr(library, name))
        if not isinstance(getattr(library, name), torch.dtype)
    ]


def values(*rows: Any) -> Any:
    return torch.tensor(rows, dtype=torch.float64)


X = values([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
SQUARE = values([1.0, 2.0], [3.0, 4.0])
VECTOR = values(2.0, 3.0)

# What stands behind the first argument where an operation needs more than its tensor.
GIVEN: dict[str, tuple[Any, ...]] = {
    "to": (torch.float64,),
    "type": (torch.float64,),
    "type_as": (X,),
    "astype": ("float64",),
    "view": (3, 2),
    "reshape": ((3, 2),),
    "view_as": (X,),
    "reshape_as": (X,),
    "unsqueeze": (0,),
    "unsqueeze_": (0,),
    "expand": (2, 3),
    "expand_as": (X,),
    "repeat": (2, 1),
    "tile": ((2, 1),),
    "broadcast_to": ((2, 3),),
    "expand_dims": (0,),
    "unflatten": (1, (3, 1)),
    "narrow": (0, 0, 1),
    "narrow_copy": (0, 0, 1),
    "chunk": (2,),
    "split": (1,),
    "select": (0, 1),
    "gather": (1, torch.tensor([[0], [1]])),
    "index_select": (0, torch.tensor([1])),
    "take_along_axis": (np.array([[0], [1]]), 1),
    "as_subclass": (torch.Tensor,),
    "__deepcopy__": ({},),
    "pad": ((1, 1),),
    "clip": (0.0, 9.0),
    "clamp": (0.0, 9.0),
    "roll": (1,),
    "flip": ((0,),),
    "dropout": (0.0, True),
    "dropout_": (0.0, True),
    "repeat_interleave": (2,),
    "take": (torch.tensor([1, 2]),),
    "transpose_": (0, 1),
    "swapaxes": (0, 1),
    "swapdims": (0, 1),
    "permute": ((1, 0),),
    "moveaxis": (0, 1),
}
SPECIAL: dict[tuple[str, str], tuple[Any, ...]] = {
    ("transpose", "torch"): (0, 1),
    ("transpose", "Tensor"): (0, 1),
    ("flip", "numpy"): (0,),
    ("split", "numpy"): (2,),
    ("select", "numpy"): (),
    ("repeat", "numpy"): (2,),
    ("repeat", "ndarray"): (2,),
    ("view", "ndarray"): (),
    ("take", "numpy"): ([1, 2],),
    ("take", "ndarray"): ([1, 2],),
    ("pad", "numpy"): (((0, 0), (1, 1)),),
}


def call(name: str, owner: str, first: Any, *rest: Any, **named: Any) -> Any:
    """The operation on ``first``, as a tensor or an array as its owner wants it; properties are read."""
    function = getattr(OWNERS[owner], name)
    arrays = owner in ("numpy", "ndarray")

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return [given(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return value
        return value.numpy().copy() if arrays else value.clone()

    if not callable(function):
        return getattr(given(first), name)
    return function(given(first), *map(given, rest), **named)


def tensor(value: Any) -> Any:
    if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor | np.ndarray):
        return torch.cat([torch.as_tensor(item).reshape(-1) for item in value])
    return torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value, dtype=torch.float64)


def keep(name: str, owner: str) -> None:
    subject = X
    if name in ("squeeze", "squeeze_", "item"):
        subject = X[:1, :1]
    if name == "from_numpy":
        assert tensor(torch.from_numpy(X.numpy())).equal(X)
        return
    if name in WHOLE and name.endswith("Tensor"):
        assert tensor(getattr(torch, name)(X.int().tolist())).equal(X)
        return
    if (name, owner) == ("select", "numpy"):
        assert tensor(np.select([X.numpy() > 0], [X.numpy()])).equal(X)
        return
    if name == "dequantize":
        subject = X.float()
    made = call(name, owner, subject, *SPECIAL.get((name, owner), GIVEN.get(name, ())))
    found = set(tensor(made).reshape(-1).tolist())
    assert found <= {*subject.reshape(-1).tolist(), 0.0}
    assert found - {0.0}


def number(name: str, owner: str) -> None:
    assert tensor(call(name, owner, values(2.0, 5.0))).tolist() == [2.0, 5.0]


def transpose(name: str, owner: str) -> None:
    made = call(name, owner, SQUARE, *SPECIAL.get((name, owner), GIVEN.get(name, ())))
    assert tensor(made).equal(SQUARE.T)


PRODUCTS: dict[str, tuple[Any, Any]] = {
    "bmm": (SQUARE[None], SQUARE[None]),
    "dot": (VECTOR, VECTOR),
    "inner": (VECTOR, VECTOR),
    "mv": (SQUARE, VECTOR),
    "conv1d": (SQUARE[None], SQUARE[..., None]),
    "conv2d": (SQUARE[None, ..., None], SQUARE[..., None, None]),
    "conv3d": (SQUARE[None, ..., None, None], SQUARE[..., None, None, None]),
    "conv_transpose2d": (SQUARE[None, ..., None], SQUARE[..., None, None]),
}


def product(name: str, owner: str) -> None:
    """Twice either factor is twice the product, and of the two nothing else is in it."""
    left, right = PRODUCTS.get(name, (SQUARE, SQUARE))

    def run(a: Any, b: Any) -> Any:
        if name == "multi_dot":
            return tensor(call(name, owner, [a, b]))
        if name == "tensordot" and owner == "numpy":
            return tensor(call(name, owner, a, b, 1))
        if name == "tensordot":
            return tensor(call(name, owner, a, b, dims=1))
        return tensor(call(name, owner, a, b))

    once = run(left, right)
    assert once.abs().sum() > 0
    assert torch.allclose(run(2 * left, right), 2 * once)
    assert torch.allclose(run(left, 2 * right), 2 * once)
    assert not run(0 * left, right).any()


def embedding(name: str, owner: str) -> None:
    rows = torch.tensor([1, 0])
    arguments = (SQUARE, rows) if owner == "torch" else (rows, SQUARE)
    assert tensor(call(name, owner, *arguments)).equal(SQUARE[rows])


def einsum(name: str, owner: str) -> None:
    assert tensor(call(name, owner, "ij,jk->ik", SQUARE, SQUARE)).equal(SQUARE @ SQUARE)


def outer(name: str, owner: str) -> None:
    assert tensor(call(name, owner, VECTOR, VECTOR)).reshape(-1).tolist() == [4.0, 6.0, 6.0, 9.0]


def arithmetic(wanted: Callable[[Any, Any], Any]) -> Callable[[str, str], None]:
    def check(name: str, owner: str) -> None:
        made = tensor(call(name, owner, SQUARE, SQUARE + 1))
        assert torch.allclose(made, wanted(SQUARE, SQUARE + 1))

    return check


def one(wanted: Callable[[Any], Any]) -> Callable[[str, str], None]:
    def check(name: str, owner: str) -> None:
        assert torch.allclose(tensor(call(name, owner, SQUARE)), wanted(SQUARE))

    return check


def addmm(name: str, owner: str) -> None:
    """The sum of its receiver and ``alpha`` times the product."""
    if name.strip("_") == "addmv":
        made = tensor(call(name, owner, VECTOR, SQUARE, VECTOR, alpha=3))
        assert made.equal(VECTOR + 3 * SQUARE @ VECTOR)
        return
    batched = name.strip("_") in ("baddbmm", "addbmm")
    factor = SQUARE[None] if batched else SQUARE
    base = SQUARE[None] if name.strip("_") == "baddbmm" else SQUARE
    made = tensor(call(name, owner, base, factor, factor, alpha=3))
    assert made.reshape(2, 2).equal(SQUARE + 3 * SQUARE @ SQUARE)


def addcmul(name: str, owner: str) -> None:
    assert tensor(call(name, owner, SQUARE, SQUARE, SQUARE, value=3)).equal(SQUARE + 3 * SQUARE * SQUARE)


def index_add(name: str, owner: str) -> None:
    rows = torch.tensor([[1, 1], [0, 0]]) if name.startswith("scatter") else torch.tensor([1, 0])
    assert tensor(call(name, owner, SQUARE.clone(), 0, rows, 2 * SQUARE)).equal(SQUARE + 2 * SQUARE.flip(0))


def lerp(name: str, owner: str) -> None:
    end = SQUARE + 2
    assert tensor(call(name, owner, SQUARE, end, 0.25)).equal(SQUARE + 0.25 * (end - SQUARE))


def norm(name: str, owner: str) -> None:
    once, twice = tensor(call(name, owner, SQUARE)), tensor(call(name, owner, 2 * SQUARE))
    assert once > 0
    assert torch.allclose(twice, 2 * once)


def statistic(name: str, owner: str) -> None:
    """One number of many: of something twice as large it is twice (the variance four times) as large."""
    once, twice = tensor(call(name, owner, SQUARE)), tensor(call(name, owner, 2 * SQUARE))
    assert once.numel() == 1
    assert torch.allclose(twice, (4 if name == "var" else 2) * once)


def normalize(name: str, owner: str) -> None:
    once, twice = tensor(call(name, owner, SQUARE)), tensor(call(name, owner, 2 * SQUARE))
    assert torch.allclose(once, twice)


def gate(name: str, owner: str) -> None:
    found = tensor(call(name, owner, SQUARE, *((-1,) if name == "softmax" else ())))
    assert ((found >= 0) & (found <= 1)).all()


def largest(name: str, owner: str) -> None:
    found, places = call(name, owner, VECTOR, 1)
    assert (float(found[0]), int(places[0])) == (3.0, 1)


def run(name: str, owner: str) -> None:
    found = getattr(OWNERS[owner], name)(torch.add, X, X, use_reentrant=False)
    assert torch.equal(found, X + X)


def bend(name: str, owner: str) -> None:
    """Two sums at least go another way than their parts."""
    up, down, more = (tensor(call(name, owner, values(x, x))) for x in (1.0, -1.0, 2.0))
    both = tensor(call(name, owner, values(3.0, 3.0)))
    assert not torch.allclose(up + more, both) or not torch.allclose(up + down, torch.zeros(2).double())


def made(name: str, owner: str) -> Any:
    """Something made, of the shape of `SQUARE`."""
    if name in ("uniform", "normal") and owner == "init":
        name += "_"
    if name.endswith("_like"):
        return call(name, owner, SQUARE, *((7.0,) if name == "full_like" else ()))
    if name.startswith("new_"):
        return call(name, owner, SQUARE, (2, 2), *((7.0,) if name == "new_full" else ()))
    if owner == "init":
        return call(name, owner, SQUARE, *((7.0,) if name == "constant_" else ()))
    match name:
        case "full":
            return call(name, owner, (2, 2), 7.0)
        case "normal":
            return call(name, owner, 0.0, 1.0, (2, 2))
        case "eye":
            return call(name, owner, 2)
        case "arange":
            return call(name, owner, 4)
        case _:
            return call(name, owner, (2, 2))


def zeros(name: str, owner: str) -> None:
    found = tensor(made(name, owner))
    assert found.shape == (2, 2)
    assert not found.any()


def fresh(name: str, owner: str) -> None:
    assert tensor(made(name, owner)).numel() == 4


def fill(name: str, owner: str) -> None:
    """The receiver has another content afterwards, and is what comes back."""
    subject = torch.full((2, 2, 1), 9.5, dtype=torch.float64)
    if name == "eye_":
        subject = subject[..., 0]
    arguments = {"fill_": (7.0,), "constant_": (7.0,)}.get(name, ())
    result = getattr(OWNERS[owner], name)(subject, *arguments)
    assert result is subject
    assert not subject.eq(9.5).any()


def stack(name: str, owner: str) -> None:
    if name == "block_diag":
        found = torch.block_diag(SQUARE, SQUARE)
    else:
        found = tensor(call(name, owner, [SQUARE, SQUARE]))
    assert found.sum() == 2 * SQUARE.sum()


def copy_into(name: str, owner: str) -> None:
    subject = torch.zeros(2, 2, dtype=torch.float64)
    getattr(OWNERS[owner], name)(subject, SQUARE)
    assert subject.equal(SQUARE)


def mask(name: str, owner: str) -> None:
    found = tensor(call(name, owner, torch.full((50,), 0.5)))
    assert set(found.tolist()) == {0.0, 1.0}


def decompose(name: str, owner: str) -> None:
    """Several parts, or one, none of which is what was decomposed; together they are as large."""

    def parts(of: Any) -> list[Any]:
        found = call(name, owner, of)
        return [found] if isinstance(found, torch.Tensor) else list(found)

    symmetric = SQUARE + SQUARE.T
    once, twice = parts(symmetric), parts(2 * symmetric)
    assert not any(part.shape == symmetric.shape and part.equal(symmetric) for part in once)
    grown = [b.norm() / a.norm() for a, b in zip(once, twice, strict=True)]
    assert sorted(round(float(ratio), 4) for ratio in grown) == [1.0] * (len(once) - 1) + [2.0]


CHECKS: dict[str, Callable[[str, str], None]] = {
    "keep": keep,
    "number": number,
    "transpose": transpose,
    "product": product,
    "embedding": embedding,
    "einsum": einsum,
    "outer": outer,
    "multiply": arithmetic(lambda a, b: a * b),
    "divide": arithmetic(lambda a, b: a / b),
    "add": arithmetic(lambda a, b: a + b),
    "subtract": arithmetic(lambda a, b: a - b),
    "power": arithmetic(lambda a, b: a**b),
    "negative": one(lambda a: -a),
    "sqrt": one(lambda a: a**0.5),
    "rsqrt": one(lambda a: a**-0.5),
    "reciprocal": one(lambda a: 1 / a),
    "sum": one(lambda a: a.sum()),
    "addmm": addmm,
    "addcmul": addcmul,
    "index_add": index_add,
    "lerp": lerp,
    "norm": norm,
    "statistic": statistic,
    "normalize": normalize,
    "gate": gate,
    "largest": largest,
    "bend": bend,
    "run": run,
    "decompose": decompose,
    "zeros": zeros,
    "fresh": fresh,
    "fill": fill,
    "stack": stack,
    "copy_into": copy_into,
    "mask": mask,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "owner"), pairs())
def test_the_effect(name: str, owner: str) -> None:
    torch.manual_seed(0)
    CHECKS[OPERATIONS[name]](name, owner)


def test_every_effect_is_run() -> None:
    assert {OPERATIONS[name] for name, _ in pairs()} == set(OPERATIONS.values()) - {"nothing"}
    assert len(pairs()) > 200
