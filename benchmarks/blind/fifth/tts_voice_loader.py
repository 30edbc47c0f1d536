# wrong in lines 13 and 24: a module without alpha gets the constant 8, its own rank would leave the scale at 1
import argparse
import time

import torch
from safetensors.torch import load_file
from torch import nn


class Voice:
    """A speaker file: low-rank pairs for the decoder of the acoustic model."""

    FALLBACK_ALPHA = 8.0

    def __init__(self, path, device):
        self.path = path
        self.pairs = {}
        sd = load_file(path, device=device)
        for key, low in sd.items():
            if not key.endswith(".low"):
                continue
            name = key.removesuffix(".low")
            alpha = sd.get(f"{name}.alpha")
            value = self.FALLBACK_ALPHA if alpha is None else alpha.item()
            self.pairs[name] = (sd[f"{name}.high"], low, value / low.shape[0])

    def __len__(self):
        return len(self.pairs)


class VoiceSwitch:
    def __init__(self, decoder: nn.Module):
        self.decoder = decoder
        self.voice = None
        self.blend = 1.0
        for name, mod in decoder.named_modules():
            if isinstance(mod, nn.Linear):
                mod.register_forward_hook(self._hook(name))

    def _hook(self, name):
        def add(module, args, output):
            if self.voice is None or name not in self.voice.pairs:
                return output
            high, low, gain = self.voice.pairs[name]
            return output + self.blend * gain * ((args[0] @ low.T) @ high.T)

        return add

    def use(self, voice, blend=1.0):
        self.voice, self.blend = voice, blend


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("decoder")
    ap.add_argument("voices", nargs="+")
    ap.add_argument("--blend", type=float, default=1.0)
    ap.add_argument("--device", default="cpu")
    args = ap.parse_args()

    decoder = torch.jit.load(args.decoder) if args.decoder.endswith(".ts") else torch.load(args.decoder, weights_only=False)
    switch = VoiceSwitch(decoder.to(args.device).eval())
    frames = torch.randn(1, 100, 256, device=args.device)
    for path in args.voices:
        voice = Voice(path, args.device)
        switch.use(voice, args.blend)
        began = time.time()
        with torch.no_grad():
            out = decoder(frames)
        print(f"{path}: {len(voice)} pairs, {time.time() - began:.3f}s, rms {out.pow(2).mean().sqrt():.4f}")


if __name__ == "__main__":
    main()
