"""Alpha and rank: who writes them, under which conditions, and whether they can still be None."""

from __future__ import annotations

from textwrap import indent

import pytest

from lorascale_lint.model.state import find_setters
from tests.projects import model_of, the_state


def init(*lines: str, arguments: str = "self, lora_rank=None, lora_alpha=None") -> str:
    return f"class LoRALinear:\n    def __init__({arguments}):\n" + indent("\n".join(lines), " " * 8) + "\n"


GIVEN = "self.lora_alpha = lora_alpha"
PLAIN = init(GIVEN)


def then(*lines: str) -> str:
    """The plain class with a method that has the given body."""
    return PLAIN + "\n    def set(self, a):\n" + indent("\n".join(lines), " " * 8) + "\n"


def outside(*lines: str) -> str:
    """The plain class, and code after it."""
    return PLAIN + "\n\n" + "\n".join(lines) + "\n"


def fields(*lines: str) -> str:
    return "class LoRALinear:\n" + indent("\n".join(lines), " " * 4) + "\n"


MAY_BE_NONE = {
    "default None": PLAIN,
    "None": init("self.lora_alpha = None"),
    "or another None": init("self.lora_alpha = lora_alpha or lora_rank"),
    "another test": init("self.lora_alpha = 16 if lora_rank is None else lora_alpha"),
    "only in training": then("if a.training_mode:", "    self.lora_alpha = 2"),
    "behind a return": then("if a.rank:", "    return", "self.lora_alpha = 2"),
    "class level": fields("lora_alpha = None"),
    "field": fields("lora_alpha: int | None = None"),
    "a configuration": outside("def load(config, a):", "    config.lora_alpha = a"),
    "from outside, if": outside("def load(layer, a):", "    if a:", "        layer.lora_alpha = a"),
    "a call omits it": outside("layer = LoRALinear(8)"),
    "a call gives None": outside("a = LoRALinear(8, 16)", "b = LoRALinear(8, None)"),
    "factory default": outside("def make(alpha=None):", "    return LoRALinear(8, alpha)"),
}
IS_SET = {
    "or": init("self.lora_alpha = lora_alpha or 16"),
    "default": init(GIVEN, arguments="self, lora_alpha=16"),
    "no default": init(GIVEN, arguments="self, lora_alpha"),
    "conditional": init("self.lora_alpha = 16 if lora_alpha is None else lora_alpha"),
    "conditional, is not": init("self.lora_alpha = lora_alpha if lora_alpha is not None else 16"),
    "truth": init("self.lora_alpha = lora_alpha if lora_alpha else 16"),
    "repaired before": init("if lora_alpha is None:", "    lora_alpha = 16", GIVEN),
    "repaired after": init(GIVEN, "if self.lora_alpha is None:", "    self.lora_alpha = 16"),
    "repaired by parameter": init(GIVEN, "if lora_alpha is None:", "    self.lora_alpha = 16"),
    "assert": init("assert lora_alpha is not None", GIVEN),
    "raise": init("if lora_alpha is None:", "    raise ValueError", GIVEN),
    "conversion": init("self.lora_alpha = float(lora_alpha)"),
    "another method": then("self.lora_alpha = 2"),
    "behind a raise": then("if not a.rank:", "    raise E", "self.lora_alpha = 2"),
    "behind an assertion": then("assert a.training", "self.lora_alpha = 2"),
    "field with a value": fields("lora_alpha: int = 8"),
    "field without a value": fields("lora_alpha: int"),
    "field repaired after": fields(
        "lora_alpha: int | None = None",
        "def __post_init__(self):",
        "    if self.lora_alpha is None:",
        "        self.lora_alpha = 8",
    ),
    "property": fields("lora_alpha = None", "@property", "def lora_alpha(self):", "    return 8"),
    "written from outside": outside("def load(layer, a):", "    layer.lora_alpha = a"),
    "by a subclass": outside(
        "class Sub(LoRALinear):", "    def set(self, a):", "        self.lora_alpha = 3"
    ),
    "every call gives it": outside("layer = LoRALinear(8, 16)"),
    "every call names it": outside("layer = LoRALinear(lora_alpha=16)"),
    "a call spreads": outside("layer = LoRALinear(8, **options)"),
    "factory that is given it": outside(
        "def make(alpha=None):", "    return LoRALinear(8, alpha)", "layer = make(alpha=3)"
    ),
}
WORKLIST = {"property": "a property is not followed"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            source,
            table is MAY_BE_NONE,
            id=name,
            marks=[pytest.mark.xfail(strict=True, reason=WORKLIST[name])] if name in WORKLIST else [],
        )
        for table in (MAY_BE_NONE, IS_SET)
        for name, source in table.items()
    ],
)
def test_may_be_none(source: str, expected: bool) -> None:
    assert the_state(source, "LoRALinear", "lora_alpha").may_be_none is expected


def test_a_subclass_hands_its_default_to_the_constructor_of_the_base() -> None:
    source = (
        PLAIN
        + "\n\nclass Sub(LoRALinear):\n    def __init__(self, a=None):\n        super().__init__(8, a)\n"
    )
    assert the_state(source, "Sub", "lora_alpha").may_be_none
    assert the_state(source + "\n\nSub(3)\n", "Sub", "lora_alpha").may_be_none is False


def test_a_factory_of_another_file_passes_none_on() -> None:
    files = {
        "layer.py": PLAIN,
        "pipeline.py": """
            from layer import LoRALinear


            class LoRAPipeline:
                lora_alpha = None

                def __init__(self, args):
                    if args.training:
                        self.lora_alpha = args.lora_alpha
                    self.layer = LoRALinear(8, lora_alpha=self.lora_alpha)
        """,
    }
    pipeline = the_state(files, "LoRAPipeline", "lora_alpha")
    assert pipeline.may_be_none
    assert [len(write.conditional) for write in pipeline.writes] == [0, 1]
    assert [write.filename for write in pipeline.conditional_writes] == ["pipeline.py"]
    assert the_state(files, "LoRALinear", "lora_alpha").may_be_none


def test_places_of_the_writes() -> None:
    state = the_state(PLAIN + "    lora_alpha = None\n", "LoRALinear", "lora_alpha")
    assert [(write.declared, write.loc.row, write.may_be_none) for write in state.writes] == [
        (True, 4, True),
        (False, 3, True),
    ]
    assert state.unset_by is state.writes[0]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("lora_alpha", "alpha"),
        ("network_alpha", "alpha"),
        ("alpha", "alpha"),
        ("r", "rank"),
        ("lora_dim", "rank"),
        ("ranknum", "rank"),
        ("scaling", "scaling"),
        ("alpha_scale", "scaling"),
        ("multiplier", "strength"),
    ],
)
def test_roles_by_name(name: str, role: str) -> None:
    assert the_state(init(f"self.{name} = 3"), "LoRALinear", name).role == role


# ---- setters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "writes", "expected"),
    [
        ("A, B", ("lora_A = A", "lora_B = B"), (None, False)),
        ("A, B", ("lora_A = nn.Parameter(A)", "lora_B = nn.Parameter(B.T)"), (None, False)),
        ("A, B, alpha", ("lora_A = A", "lora_B = B", "lora_alpha = alpha"), ("alpha", True)),
        ("A, B, *, scale=1", ("lora_A = A", "lora_B = B * scale"), ("scale", False)),
        ("A, B", ("lora_A.weight.data = A", "lora_B.weight.data = B"), (None, False)),
        ("A, B", ("lora_A[0] = A", "lora_B[0] = B"), (None, False)),
        pytest.param(
            "A, B",
            ("lora_A.data.copy_(A)", "lora_B.data.copy_(B)"),
            (None, False),
            marks=pytest.mark.xfail(strict=True, reason="`copy_` into a factor is no write"),
        ),
    ],
    ids=["plain", "wrapped", "with alpha", "keyword", "modules", "slots", "copied"],
)
def test_setters(header: str, writes: tuple[str, ...], expected: tuple[str | None, bool]) -> None:
    body = "".join(f"        self.{line}\n" for line in writes)
    model = model_of(f"class LoRALinear:\n    def put(self, {header}):\n{body}")
    (setter,) = find_setters(model.project, next(iter(model.project.classes.values())))
    assert setter.function.facts.name == "put"
    assert (setter.alpha_parameter, setter.writes_alpha) == expected


@pytest.mark.parametrize(
    "method",
    [
        "def put(self, A):\n    self.lora_A = A",
        "def put(self, n):\n    self.lora_A = zeros(4)\n    self.lora_B = zeros(4)",
        "def put(self, A, B):\n    lora_A = A\n    lora_B = B",
        "def put(self, A, B):\n    other.x = A\n    other.y = B",
    ],
    ids=["one factor", "no parameter", "locals", "other names"],
)
def test_no_setters(method: str) -> None:
    model = model_of("class LoRALinear:\n" + indent(method, "    ") + "\n")
    assert list(find_setters(model.project, next(iter(model.project.classes.values())))) == []


def test_a_conversion_of_the_own_factors_sets_nothing() -> None:
    model = model_of(
        """
        class LoRALayer:
            def __init__(self, up, down, alpha):
                self.up, self.down, self.alpha = up, down, alpha

            def to(self, device=None, dtype=None):
                self.up = self.up.to(device=device, dtype=dtype)
                self.down = self.down.to(device=device, dtype=dtype)

            def load(self, up, down):
                self.up, self.down = up, down
        """
    )
    (cls,) = model.project.classes.values()
    assert [setter.function.facts.name for setter in find_setters(model.project, cls)] == ["load"]
