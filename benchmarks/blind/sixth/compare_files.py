# wrong in line 16: a file without alpha means alpha == rank in this format, the default 1.0 scales such files by 1/rank
import sys

import numpy as np
from safetensors.numpy import load_file, save_file


def modules_of(sd):
    return sorted(k[:-17] for k in sd if k.endswith(".lora_down.weight"))


def dense(sd, module):
    """difference matrix of one module; alpha is optional and equals the rank when left out"""
    down = sd[f"{module}.lora_down.weight"].astype("f4")
    up = sd[f"{module}.lora_up.weight"].astype("f4")
    alpha = sd.get(f"{module}.alpha", np.float32(1.0))
    rank = down.shape[0]
    mat = np.tensordot(up.reshape(up.shape[0], rank), down, axes=1)
    return mat * (float(alpha) / rank)


def overlap(first, second):
    """cosine between two adapters, module by module"""
    common = set(modules_of(first)) & set(modules_of(second))
    for module in sorted(common):
        p, q = dense(first, module).ravel(), dense(second, module).ravel()
        yield module, float(p @ q / (np.linalg.norm(p) * np.linalg.norm(q) + 1e-12))


def difference(first, second):
    out = {}
    for module in sorted(set(modules_of(first)) | set(modules_of(second))):
        mat = 0.0
        if f"{module}.lora_down.weight" in first:
            mat = mat + dense(first, module)
        if f"{module}.lora_down.weight" in second:
            mat = mat - dense(second, module)
        out[f"{module}.diff"] = np.ascontiguousarray(mat)
    return out


def main(argv):
    cmd, one, two = argv[:3]
    first, second = load_file(one), load_file(two)
    if cmd == "overlap":
        for module, cos in overlap(first, second):
            print(f"{cos:+.3f} {module}")
    elif cmd == "difference":
        save_file(difference(first, second), argv[3])
    else:
        raise SystemExit("overlap or difference")


if __name__ == "__main__":
    main(sys.argv[1:])
