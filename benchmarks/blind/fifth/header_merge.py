# wrong in line 19: metadata values are text, alpha stays a str and is divided by the integer rank
import fnmatch
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


class PatchFile:
    """Pairs named <module>.c / <module>.d, training values in the header."""

    def __init__(self, path):
        self.path = path
        with safe_open(path, framework="pt", device="cpu") as f:
            header = f.metadata() or {}
            self.tensors = {k: f.get_tensor(k) for k in f.keys()}
        self.rank = int(header["rank"])
        self.alpha = header.get("alpha", self.rank)
        self.exclude = [p for p in header.get("exclude", "").split(",") if p]

    def skips(self, module):
        return any(fnmatch.fnmatch(module, p) for p in self.exclude)

    def __iter__(self):
        for key in sorted(self.tensors):
            if key.endswith(".c"):
                module = key[:-2]
                if not self.skips(module):
                    yield module, self.tensors[key].float(), self.tensors[module + ".d"].float()

    def multiplier(self, strength):
        return strength * (self.alpha / self.rank)


@torch.no_grad()
def merge(base, patch, strength):
    m = patch.multiplier(strength)
    done = []
    for module, c, d in patch:
        if c.shape[0] != patch.rank:
            raise ValueError(f"{module}: rank {c.shape[0]} in the file, header says {patch.rank}")
        key = module + ".weight"
        base[key] = (base[key].float() + m * (d @ c)).to(base[key].dtype)
        done.append(module)
    return done


def main(argv):
    if len(argv) not in (3, 4):
        print("usage: header_merge.py BASE PATCH OUT [STRENGTH]", file=sys.stderr)
        return 64
    strength = float(argv[3]) if len(argv) == 4 else 1.0
    base = load_file(argv[0])
    done = merge(base, PatchFile(argv[1]), strength)
    save_file(base, argv[2])
    print(f"{len(done)} modules at {strength:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
