# silent: each hook is made by a function call of its own, so its factors and gain belong to its layer
"""Stack several fine-tuned deltas on a network with removable hooks."""
import logging
from functools import partial

import torch
import torch.nn.functional as F

logger = logging.getLogger(__name__)


def _conv_delta(x, module, down, up):
    mid = F.conv2d(x, down, None, module.stride, module.padding, module.dilation)
    return F.conv2d(mid, up)


def _linear_delta(x, module, down, up):
    return F.linear(F.linear(x, down.flatten(1)), up.flatten(1))


def _hook(module, args, output, *, down, up, gain):
    compute = _conv_delta if isinstance(module, torch.nn.Conv2d) else _linear_delta
    return output + gain * compute(args[0], module, down, up)


class HookStack:
    def __init__(self, net):
        self.net = net
        self.layers = []

    def push(self, entries, strength=1.0):
        handles = []
        for path, entry in entries.items():
            down, up = entry["lora_down"], entry["lora_up"]
            gain = strength * entry["alpha"] / down.shape[0]
            module = self.net.get_submodule(path)
            handles.append(module.register_forward_hook(partial(_hook, down=down, up=up, gain=gain)))
        self.layers.append(handles)
        logger.debug("pushed %d hooks at depth %d", len(handles), len(self.layers))

    def pop(self):
        for handle in self.layers.pop():
            handle.remove()

    def clear(self):
        while self.layers:
            self.pop()
