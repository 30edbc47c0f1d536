# wrong in line 17: the alpha is looked up as "<stem>.lora_down.alpha", files have "<stem>.alpha", so the scale is always 1
import re

import numpy as np
from safetensors.numpy import load_file, save_file

DOWN = re.compile(r"^(?P<stem>(?P<tower>lora_(?:unet|te\d?))_.+?\.lora_down)\.weight$")


def entries(sd):
    for key, down in sd.items():
        m = DOWN.match(key)
        if not m:
            continue
        stem = m.group("stem")
        up = sd[stem.replace("lora_down", "lora_up") + ".weight"]
        alpha = sd.get(f"{stem}.alpha")
        ratio = 1.0 if alpha is None else float(alpha) / down.shape[0]
        yield m.group("tower"), stem[: -len(".lora_down")], up, down, ratio


def to_full(sd, towers):
    """explicit difference matrices, one per module"""
    full = {}
    for tower, module, up, down, ratio in entries(sd):
        if tower not in towers:
            continue
        u = up.reshape(up.shape[0], -1).astype(np.float32)
        d = down.reshape(down.shape[0], -1).astype(np.float32)
        mat = ratio * (u @ d)
        if down.ndim == 4:
            mat = mat.reshape(up.shape[0], *down.shape[1:])
        full[f"{module}.diff"] = mat
    return full


def report(full):
    rows = sorted(((float(np.linalg.norm(v)), k) for k, v in full.items()), reverse=True)
    for norm, name in rows[:20]:
        print(f"{norm:10.4f}  {name}")


def main(src, dst, *towers):
    full = to_full(load_file(src), set(towers) or {"lora_unet", "lora_te", "lora_te1", "lora_te2"})
    report(full)
    save_file(full, dst)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
