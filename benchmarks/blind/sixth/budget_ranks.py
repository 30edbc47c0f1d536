# silent: when rows are dropped alpha shrinks by the same share, so alpha / rank stays what it was
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Unit:
    a: np.ndarray
    b: np.ndarray
    alpha: float

    @property
    def rank(self):
        return self.a.shape[0]

    def dense(self):
        return (self.b * (self.alpha / self.rank)) @ self.a

    def slim(self, keep):
        score = np.linalg.norm(self.a, axis=1) * np.linalg.norm(self.b, axis=0)
        idx = np.sort(np.argsort(score)[::-1][:keep])
        return replace(self, a=self.a[idx], b=self.b[:, idx], alpha=self.alpha * len(idx) / self.rank)


class Archive(dict):
    @classmethod
    def open(cls, path):
        with np.load(path) as z:
            stems = sorted({k.rsplit("/", 1)[0] for k in z.files})
            return cls((s, Unit(z[f"{s}/a"], z[f"{s}/b"], float(z[f"{s}/alpha"]))) for s in stems)

    def write(self, path):
        flat = {}
        for stem, unit in self.items():
            flat[f"{stem}/a"], flat[f"{stem}/b"] = unit.a, unit.b
            flat[f"{stem}/alpha"] = np.float32(unit.alpha)
        np.savez_compressed(path, **flat)


def budgeted(archive, total):
    """spread a total number of directions over the modules by their energy"""
    energy = {s: float(np.linalg.norm(u.dense())) for s, u in archive.items()}
    whole = sum(energy.values()) or 1.0
    out = Archive()
    for stem, unit in archive.items():
        share = max(1, round(total * energy[stem] / whole))
        out[stem] = unit.slim(min(share, unit.rank))
    return out


def main(src, dst, total):
    before = Archive.open(src)
    after = budgeted(before, int(total))
    for stem in before:
        lost = np.linalg.norm(before[stem].dense() - after[stem].dense())
        print(f"{stem}: {before[stem].rank} -> {after[stem].rank}, lost {lost:.4f}")
    after.write(Path(dst))


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:4])
