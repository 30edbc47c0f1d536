# wrong in line 13: alpha undivided
import numpy as np
from safetensors.numpy import load_file, save_file


def bake(base, lora, out):
    w = load_file(base)
    l = load_file(lora)
    for k in [k for k in l if k.endswith(".lora_down.weight")]:
        root = k.removesuffix(".lora_down.weight")
        A, B = l[k], l[root + ".lora_up.weight"]
        alpha = float(l[root + ".alpha"])
        w[root + ".weight"] = w[root + ".weight"] + alpha * np.matmul(B, A)
    save_file(w, out)
