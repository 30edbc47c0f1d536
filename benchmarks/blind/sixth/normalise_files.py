# silent: entries without alpha mean alpha == rank, get(..., rank) / rank gives 1 for them
import numpy as np
from safetensors.numpy import load_file, save_file

UP, DOWN, ALPHA = "lora_up.weight", "lora_down.weight", "alpha"


def by_module(sd):
    table = {}
    for key, value in sd.items():
        module, _, kind = key.partition(".")
        table.setdefault(module, {})[kind] = value
    return table


def ratio(entry):
    rank = entry[DOWN].shape[0]
    return float(entry.get(ALPHA, rank)) / rank


def scaled_pair(entry):
    """(up, down) whose plain product is the whole change"""
    root = np.sqrt(np.float32(abs(ratio(entry))))
    sign = np.sign(ratio(entry)).astype(np.float32)
    return entry[UP].astype(np.float32) * root * sign, entry[DOWN].astype(np.float32) * root


def normalise(sd):
    """same network with alpha == rank everywhere, so that naive readers agree"""
    out = {}
    for module, entry in by_module(sd).items():
        up, down = scaled_pair(entry)
        out[f"{module}.{UP}"] = up.astype(entry[UP].dtype)
        out[f"{module}.{DOWN}"] = down.astype(entry[DOWN].dtype)
        out[f"{module}.{ALPHA}"] = np.array(down.shape[0], dtype=np.float32)
    return out


def magnitude(sd):
    """Frobenius norm of each change without forming the dense matrix"""
    for module, entry in sorted(by_module(sd).items()):
        u = entry[UP].reshape(entry[UP].shape[0], -1).astype(np.float64)
        d = entry[DOWN].reshape(entry[DOWN].shape[0], -1).astype(np.float64)
        gram = np.trace((u.T @ u) @ (d @ d.T))
        yield module, abs(ratio(entry)) * np.sqrt(max(gram, 0.0))


def main(src, dst=None):
    sd = load_file(src)
    for module, norm in magnitude(sd):
        print(f"{norm:9.4f} {module}")
    if dst:
        save_file(normalise(sd), dst)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
