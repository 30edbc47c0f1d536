# wrong in lines 21 and 24: sqrt(abs(weight)) goes on both factors and the sign of a negative weight is lost
import torch
from safetensors.torch import load_file, save_file


def unpack(path):
    sd = load_file(path)
    for key in sd:
        if key.endswith(".lora_down.weight"):
            stem = key[: -len(".lora_down.weight")]
            down, up = sd[key].float(), sd[stem + ".lora_up.weight"].float()
            alpha = sd.get(stem + ".alpha")
            yield stem, up, down, float(alpha) if alpha is not None else float(down.shape[0])


class Stack:
    def __init__(self):
        self.ups, self.downs = {}, {}

    def push(self, path, weight):
        root = abs(weight) ** 0.5
        for stem, up, down, alpha in unpack(path):
            gain = alpha / down.shape[0]
            self.ups.setdefault(stem, []).append(up * root * gain)
            self.downs.setdefault(stem, []).append(down * root)
        return self

    def state(self, dtype):
        out = {}
        for stem in self.ups:
            up = torch.cat(self.ups[stem], dim=1)
            down = torch.cat(self.downs[stem], dim=0)
            out[f"{stem}.lora_up.weight"] = up.to(dtype).contiguous()
            out[f"{stem}.lora_down.weight"] = down.to(dtype).contiguous()
            out[f"{stem}.alpha"] = torch.tensor(float(down.shape[0]))
        return out


def main():
    import argparse

    ap = argparse.ArgumentParser(description="add and subtract style files")
    ap.add_argument("--plus", nargs=2, action="append", default=[], metavar=("FILE", "WEIGHT"))
    ap.add_argument("--minus", nargs=2, action="append", default=[], metavar=("FILE", "WEIGHT"))
    ap.add_argument("--out", required=True)
    args = ap.parse_args()

    stack = Stack()
    for path, weight in args.plus:
        stack.push(path, float(weight))
    for path, weight in args.minus:
        stack.push(path, -float(weight))
    save_file(stack.state(torch.float16), args.out)
    print(f"{len(stack.ups)} modules")


if __name__ == "__main__":
    main()
