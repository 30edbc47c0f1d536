# silent: the stem is cut at the first dot, the same for factors, alpha and dora_scale, so parts stay together
"""Keep only some blocks of a file: module_split_tool.py in.safetensors out.safetensors REGEX [REGEX ...]"""
import re
import sys
from itertools import groupby

from safetensors import safe_open
from safetensors.torch import save_file

FLAT = re.compile(r"^lora_(unet|te\d?)_")


def stem_of(key):
    stem, dot, tail = key.partition(".")
    if not FLAT.match(stem) or not dot:
        raise ValueError(f"not a flattened key: {key}")
    return stem


def select(keys, patterns):
    chosen, dropped = [], []
    for stem, members in groupby(sorted(keys, key=stem_of), key=stem_of):
        members = list(members)
        bucket = chosen if any(p.search(stem) for p in patterns) else dropped
        bucket.append((stem, members))
    return chosen, dropped


def validate(chosen):
    for stem, members in chosen:
        tails = {m.partition(".")[2] for m in members}
        if "lora_down.weight" in tails and "lora_up.weight" not in tails:
            raise ValueError(f"{stem} has no up factor")
        if "dora_scale" in tails and "lora_down.weight" not in tails:
            raise ValueError(f"{stem} has a magnitude only")


def main(source, target, *regexes):
    patterns = [re.compile(r) for r in regexes]
    with safe_open(source, framework="pt", device="cpu") as f:
        chosen, dropped = select(list(f.keys()), patterns)
        validate(chosen)
        out = {m: f.get_tensor(m) for _, members in chosen for m in members}
        meta = dict(f.metadata() or {})
    meta["split_from"] = source
    meta["split_by"] = " ".join(regexes)
    save_file(out, target, metadata=meta)
    print(f"kept {len(chosen)} modules, dropped {len(dropped)}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
