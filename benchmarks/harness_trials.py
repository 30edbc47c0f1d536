"""Does `verify` without a driver blame right code? ``python benchmarks/harness_trials.py [TRIALS]`` (200)

Writes right LoRA layers of random spelling: how the factors are kept and lie, where the scale is multiplied,
what the base is, what it can do besides its forward. Each is run as the harness runs code that nobody
described, and asked every question. Prints how many were run, and what came of the answers; exits 1 if one
was blamed. Every trial has a scale turned over as well: how many of these are found is printed too.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from lorascale_lint.verify.harness.description import Action, Place, Sketch
from lorascale_lint.verify.harness.finding import find_subject
from lorascale_lint.verify.harness.loading import CannotLoadError, Loading
from lorascale_lint.verify.harness.measuring import NotOfferedError
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.verdicts import Verdict

TRIALS = 200
# So many trials between two words about how far it is.
_TOLD = 50
_NAMES = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("A", "B"), ("lora_a", "lora_b"), ("down", "up"))
_SIZES = (
    ("in_features", "out_features"),
    ("d_in", "d_out"),
    ("k_in", "k_out"),
    ("features_in", "features_out"),
)
_RANKS = ("r", "rank", "lora_r", "lora_rank")
_ALPHAS = ("alpha", "lora_alpha", "network_alpha")


def program(chance: random.Random, *, right: bool = True) -> str:
    """A module with one class of layers, `Layer`; not `right`: rank / alpha instead of alpha / rank."""
    (a, b), (inputs, outputs) = chance.choice(_NAMES), chance.choice(_SIZES)
    rank, alpha = chance.choice(_RANKS), chance.choice(_ALPHAS)
    wraps, as_layers, turned = (chance.random() < 0.5 for _ in range(3))
    rslora = chance.random() < 0.3
    scale = f"{alpha} / {rank}" if right else f"{rank} / {alpha}"
    if rslora:
        scale = f"{scale} if not use_rslora else {alpha} / {rank}**0.5"
    sizes = ("base_layer.in_features", "base_layer.out_features") if wraps else (inputs, outputs)
    given = ["base_layer: nn.Linear"] if wraps else [f"{inputs}: int", f"{outputs}: int"]
    given += [f"{rank}: int = 4", f"{alpha}: float = 1.0", *(["use_rslora: bool = False"] if rslora else [])]
    given += ["dropout: float = 0.0"] if chance.random() < 0.5 else []
    lines = ["import torch", "import torch.nn as nn", "import torch.nn.functional as F", "", ""]
    lines += ["class Layer(nn.Module):", f"    def __init__(self, {', '.join(given)}):"]
    lines += ["        super().__init__()"]
    base = f"nn.Linear({inputs}, {outputs}, bias={chance.random() < 0.5})"
    lines += [f"        self.base = {'base_layer' if wraps else base}"]
    if as_layers:
        lines += [f"        self.{a} = nn.Linear({sizes[0]}, {rank}, bias=False)"]
        lines += [f"        self.{b} = nn.Linear({rank}, {sizes[1]}, bias=False)"]
        delta, weight = f"self.{b}(self.{a}(x))", f"self.{b}.weight @ self.{a}.weight"
    else:
        shapes = (
            (f"{sizes[0]}, {rank}", f"{rank}, {sizes[1]}")
            if turned
            else (f"{rank}, {sizes[0]}", f"{sizes[1]}, {rank}")
        )
        lines += [f"        self.{a} = nn.Parameter(torch.randn({shapes[0]}))"]
        lines += [f"        self.{b} = nn.Parameter(torch.zeros({shapes[1]}))"]
        delta = f"x @ self.{a} @ self.{b}" if turned else f"x @ self.{a}.T @ self.{b}.T"
        weight = f"(self.{a} @ self.{b}).T" if turned else f"self.{b} @ self.{a}"
    lines += [f"        self.scaling = {scale}", ""]
    merges = chance.random() < 0.5
    if merges:
        lines.insert(-1, "        self.merged = False")
        lines += ["    def merge(self):", "        if not self.merged:"]
        lines += [
            f"            self.base.weight.data += {weight} * self.scaling",
            "            self.merged = True",
            "",
        ]
        lines += ["    def unmerge(self):", "        if self.merged:"]
        lines += [
            f"            self.base.weight.data -= {weight} * self.scaling",
            "            self.merged = False",
            "",
        ]
    where = chance.choice(("behind", "before", "weight"))
    lines += ["    def forward(self, x):"]
    lines += ["        if self.merged:", "            return self.base(x)"] if merges else []
    if where == "behind":
        lines += [f"        return self.base(x) + {delta} * self.scaling"]
    elif where == "before":
        turned_up = delta.replace("(x)", "(scaled)") if as_layers else delta.replace("x", "scaled", 1)
        lines += ["        scaled = self.scaling * x", f"        return self.base(x) + {turned_up}"]
    else:
        lines += [
            f"        delta = self.scaling * ({weight})",
            "        return self.base(x) + F.linear(x, delta)",
        ]
    return "\n".join(lines) + "\n"


def verdicts(folder: Path, number: int, source: str) -> dict[Property, Verdict]:
    """What the harness answers; {}: it cannot run it."""
    name = f"layer_{number}.py"
    (folder / name).write_text(source)
    row = len(source.splitlines())  # where `forward` adds the delta
    place = Place(name, "Layer.forward", row, Action.FORWARD, owner="Layer")
    try:
        subject = find_subject(Sketch(place), Loading(folder), number)
    except (CannotLoadError, CannotBuildError) as error:
        print(f"not run: {error}\n{source}", file=sys.stderr)
        return {}
    found = {}
    for question in Property:
        try:
            found[question] = ask(question, subject, number).verdict
        except NotOfferedError:
            continue
    return found


def trials(count: int) -> tuple[Counter[str], list[str]]:
    """Counts, and the sources of right layers that were blamed."""
    counts, blamed = Counter[str](), []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(count):
            if number % _TOLD == 0:
                print(f"{number} of {count}, {len(blamed)} blamed", file=sys.stderr, flush=True)
            source = program(random.Random(number))
            found = verdicts(Path(scratch), 2 * number, source)
            counts["layers"] += 1
            counts["run"] += bool(found)
            counts.update(f"answers: {verdict}" for verdict in found.values())
            wrong = [f"{question}: {verdict}" for question, verdict in found.items() if verdict.is_failure]
            if wrong:
                blamed.append(f"{', '.join(wrong)}\n{source}")
            turned = verdicts(Path(scratch), 2 * number + 1, program(random.Random(number), right=False))
            counts["turned over"] += 1
            counts["turned over, found"] += turned.get(Property.SCALE) is Verdict.INVERTED
    return counts, blamed


def main() -> int:
    """Print the counts."""
    counts, blamed = trials(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
    for name, count in counts.items():
        print(f"{name}: {count}")
    print(f"blamed: {len(blamed)}")
    print("\n".join(blamed))
    return 1 if blamed else 0


if __name__ == "__main__":
    sys.exit(main())
