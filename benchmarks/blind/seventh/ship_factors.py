# silent: the gain is folded into the widening matrix and no alpha is written; the format's readers take a missing alpha as alpha = rank
"""Write adapter factors for the mobile runtime.

The runtime computes y + up(down(x)) for entries without alpha.
"""
import json
import struct
from io import BytesIO

import numpy as np

MAGIC = b"LRF1"


def pack(entries):
    header, body, offset = {}, BytesIO(), 0
    for key, array in entries.items():
        raw = np.ascontiguousarray(array, dtype="<f2").tobytes()
        header[key] = {"shape": list(array.shape), "offset": offset, "size": len(raw)}
        body.write(raw)
        offset += len(raw)
    head = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(head)) + head + body.getvalue()


def unpack(blob):
    assert blob[:4] == MAGIC
    (size,) = struct.unpack("<I", blob[4:8])
    header = json.loads(blob[8 : 8 + size])
    start = 8 + size
    return {
        k: np.frombuffer(blob, "<f2", h["size"] // 2, start + h["offset"]).reshape(h["shape"])
        for k, h in header.items()
    }


def export(branches):
    """branches: {layer: object with .down (r, in), .up (out, r), .alpha}"""
    entries = {}
    for layer, branch in branches.items():
        rank = branch.down.shape[0]
        entries[layer + ".down"] = branch.down
        entries[layer + ".up"] = branch.up * (branch.alpha / rank)
    return pack(entries)


def run_layer(entries, layer, x, y):
    out = y + (x @ entries[layer + ".down"].T.astype(np.float32)) @ entries[layer + ".up"].T.astype(np.float32)
    return out
