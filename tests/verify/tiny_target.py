"""A LoRA implementation in a page of NumPy, right or wrong on purpose.

Tests copy this file beside a `behaviour.txt` that holds the name of a mistake, and have `verify` run the
copy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors import safe_open

BEHAVIOUR = Path(__file__).with_name("behaviour.txt").read_text().strip()
_RENAMED = {"published.one": "one", "original.one": "one", "published.two": "two", "original.two": "two"}

if BEHAVIOUR == "import-error":
    raise ValueError("this target is broken")
if BEHAVIOUR == "missing-package":
    import a_package_that_is_nowhere  # noqa: F401
if BEHAVIOUR == "import-hang":
    time.sleep(3600)
if BEHAVIOUR == "import-exits":
    os._exit(0)
if BEHAVIOUR == "import-allocates":
    kept = []
    while True:
        kept.append(np.ones(2**20))


def scale(alpha: float | None, rank: int) -> float:
    if BEHAVIOUR == "unscaled" or alpha is None:
        return 1.0
    if BEHAVIOUR == "rank-unscaled" and os.environ.get("RANK") == "1":
        return 1.0
    if BEHAVIOUR == "inverted":
        return rank / alpha
    if BEHAVIOUR == "double":
        return (alpha / rank) ** 2
    if BEHAVIOUR == "truncated":
        return int(alpha) / rank
    if BEHAVIOUR == "undivided":
        return alpha
    if BEHAVIOUR == "nothing":
        return 0.0
    if BEHAVIOUR == "nan":
        return float("nan")
    return alpha / rank


class Layer:
    def __init__(self, weight, bias, alpha=None):
        self.weight = np.array(weight, dtype=np.float32)
        self.backup = self.weight.copy()
        self.bias = np.array(bias, dtype=np.float32)
        self.alpha = alpha
        self.delta = None
        self.merged = False

    def set(self, a, b, alpha=None, strength=1.0):
        if BEHAVIOUR == "raises":
            raise RuntimeError("no such layer")
        if os.environ.get("RANK") == "1":
            misbehave_on_one_rank()
        if alpha is not None and abs(alpha - 2.4) < 1e-6:
            misbehave()
        if BEHAVIOUR == "noisy":
            print('{"event": "row"} ' + "\x00garbage\n" * 1000)
        if self.merged:
            self.unmerge()
        told = alpha if alpha is not None else self.alpha
        if BEHAVIOUR == "stale" and alpha is not None:
            self.alpha = alpha
        product = np.asarray(b, dtype=np.float64) @ np.asarray(a, dtype=np.float64)
        if BEHAVIOUR == "wrong-direction":
            product = np.roll(product, 1, axis=0)
        used = 1.0 if BEHAVIOUR == "strengthless" else strength
        self.delta = (product * scale(told, a.shape[0]) * used).astype(np.float32)
        self.merge()

    def merge(self):
        self.weight = self.weight + self.delta
        self.merged = True

    def unmerge(self):
        if BEHAVIOUR != "residual":
            self.weight = self.backup.copy()
        self.merged = False

    def forward(self, x):
        if BEHAVIOUR == "bad-shape":
            return np.zeros((1, 1))
        delta = 0 if self.merged else np.asarray(x) @ self.delta.T
        return np.asarray(x) @ self.weight.T + self.bias + delta


def misbehave():
    if BEHAVIOUR == "exits":
        os._exit(0)
    if BEHAVIOUR == "aborts":
        os.abort()
    if BEHAVIOUR == "loops":
        while True:
            pass
    if BEHAVIOUR == "allocates":
        kept = []
        while True:
            kept.append(np.ones(2**20))
    if BEHAVIOUR == "prints":
        while True:
            print("x" * 2**20, flush=True)
    if BEHAVIOUR == "forks":
        # Two of them, each in a session of its own, one with its output elsewhere.
        for stream in (None, subprocess.DEVNULL):
            subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(3600)", os.environ["HOME"]],
                start_new_session=True,
                stdout=stream,
            )
    if BEHAVIOUR == "hangs":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", os.environ["HOME"]])
        time.sleep(3600)


def misbehave_on_one_rank():
    if BEHAVIOUR == "rank-dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if BEHAVIOUR == "rank-hangs":
        time.sleep(3600)


class Model:
    def __init__(self, weights):
        if BEHAVIOUR == "always-exits":
            os._exit(7)
        self.layers = {name: Layer(weight, np.zeros(len(weight))) for name, weight in weights.items()}
        self.files = {}

    def load(self, nickname, folder, strength):
        if folder is not None:
            self.files[nickname] = read(folder)
        found = self.files[nickname]
        if BEHAVIOUR == "first-alpha":
            found = {
                name: entry | {"alpha": next(iter(found.values())).get("alpha")}
                for name, entry in found.items()
            }
        for name, layer in self.layers.items():
            if name in found:
                entry = found[name]
                layer.set(entry["a"], entry["b"], alpha=entry.get("alpha"), strength=strength)
            elif layer.merged and BEHAVIOUR != "forgetful":
                layer.unmerge()


def read(folder):
    found = {}
    config = Path(folder) / "adapter_config.json"
    default = json.loads(config.read_text())["lora_alpha"] if config.exists() else None
    for path in Path(folder).glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            stated = (file.metadata() or {}).get("lora_alpha")
            default = default if stated is None else float(stated)
            for key in file.keys():  # noqa: SIM118 (not a dictionary)
                base, _, kind = key.removeprefix("diffusion_model.").removesuffix(".weight").rpartition(".")
                base = _RENAMED.get(base, base)
                part = {"lora_A": "a", "lora_B": "b"}.get(kind)
                value = file.get_tensor(key)
                entry = found.setdefault(base, {} if default is None else {"alpha": default})
                if part:
                    entry[part] = value
                elif BEHAVIOUR != "alpha-dropped":
                    entry["alpha"] = float(value) * (8 if kind == "alpha_scale" else 1)
    return {name: entry for name, entry in found.items() if "a" in entry and "b" in entry}
