# wrong in line 23: hada_w1_a is (out, rank), its first extent is taken as the rank
import torch

SUFFIXES = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


class Weight:
    def __init__(self, w1a, w1b, w2a, w2b, t1=None, t2=None, alpha=None):
        self.w1a, self.w1b, self.w2a, self.w2b = w1a, w1b, w2a, w2b
        self.t1, self.t2 = t1, t2
        self.alpha = alpha

    @classmethod
    def parse(cls, sd, stem):
        parts = [sd[f"{stem}.{s}"] for s in SUFFIXES]
        alpha = sd.get(f"{stem}.alpha")
        return cls(*parts, sd.get(f"{stem}.hada_t1"), sd.get(f"{stem}.hada_t2"),
                   None if alpha is None else alpha.item())

    def rank(self):
        if self.t1 is not None:
            return self.t1.shape[0]
        return self.w1a.shape[0]

    def scale(self):
        return 1.0 if self.alpha is None else self.alpha / self.rank()

    def diff(self):
        if self.t1 is not None:
            one = torch.einsum("ijkl,jr,ip->prkl", self.t1, self.w1b, self.w1a)
            two = torch.einsum("ijkl,jr,ip->prkl", self.t2, self.w2b, self.w2a)
            return one * two
        return (self.w1a @ self.w1b) * (self.w2a @ self.w2b)


def patches(sd, table):
    for stem, target in table.items():
        if f"{stem}.hada_w1_a" in sd:
            w = Weight.parse(sd, stem)
            yield target, w.diff().float() * w.scale()


@torch.no_grad()
def patch(params, sd, table, strength):
    touched = []
    for target, diff in patches(sd, table):
        p = params[target]
        p += (strength * diff.reshape(p.shape)).to(p.dtype)
        touched.append(target)
    return touched


def bench(dim=64, rank=4, alpha=2.0):
    g = torch.Generator().manual_seed(3)
    sd = {f"m.{s}": torch.randn((dim, rank) if s.endswith("a") else (rank, dim), generator=g) for s in SUFFIXES}
    sd["m.alpha"] = torch.tensor(alpha)
    params = {"w": torch.zeros(dim, dim)}
    patch(params, sd, {"m": "w"}, 1.0)
    return params["w"].std().item()


if __name__ == "__main__":
    print(bench())
