# silent: the numbers of the command line become floats and alpha is packed as float32, fractions survive
"""bundle_packer.py pack FACTORS.npz OUT.bin ALPHA | bundle_packer.py show OUT.bin"""
import struct
import sys

import numpy as np

HEAD = struct.Struct("<4sHf")
ENTRY = struct.Struct("<HIII")


def pack(source, target, alpha):
    archive = np.load(source)
    names = sorted(k[:-2] for k in archive.files if k.endswith("_d"))
    with open(target, "wb") as fh:
        fh.write(HEAD.pack(b"PAIR", len(names), alpha))
        for name in names:
            d = archive[name + "_d"].astype("<f2")
            u = archive[name + "_u"].astype("<f2")
            rank = d.shape[0]
            if u.shape[1] != rank:
                raise ValueError(f"{name}: {u.shape} x {d.shape}")
            raw = name.encode()
            fh.write(ENTRY.pack(len(raw), u.shape[0], rank, d.shape[1]))
            fh.write(raw)
            fh.write(u.tobytes())
            fh.write(d.tobytes())


def entries(path):
    blob = memoryview(open(path, "rb").read())
    magic, count, alpha = HEAD.unpack_from(blob, 0)
    if magic != b"PAIR":
        raise ValueError("not a bundle")
    at = HEAD.size
    for _ in range(count):
        n, rows, rank, cols = ENTRY.unpack_from(blob, at)
        at += ENTRY.size
        name = bytes(blob[at:at + n]).decode()
        at += n
        u = np.frombuffer(blob, "<f2", rows * rank, at).reshape(rows, rank)
        at += u.nbytes
        d = np.frombuffer(blob, "<f2", rank * cols, at).reshape(rank, cols)
        at += d.nbytes
        yield name, u, d, alpha / rank


def show(path):
    for name, u, d, gain in entries(path):
        norm = np.linalg.norm(gain * (u.astype(np.float32) @ d.astype(np.float32)))
        print(f"{name:48s} rank {d.shape[0]:3d} gain {gain:.4f} norm {norm:.4f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pack", source, target, alpha]:
            pack(source, target, float(alpha))
        case ["show", path]:
            show(path)
        case _:
            sys.exit(__doc__)
