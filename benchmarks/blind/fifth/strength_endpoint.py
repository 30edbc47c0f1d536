# wrong in line 37: truthiness turns an explicit strength of 0 into 1.0
import asyncio
from dataclasses import dataclass
from typing import Optional

import torch
from aiohttp import web


@dataclass
class Entry:
    up: torch.Tensor
    down: torch.Tensor
    alpha: float

    def delta(self):
        return self.up @ self.down * (self.alpha / self.down.shape[0])


class Mixer:
    def __init__(self, model, library):
        self.params = dict(model.named_parameters())
        self.clean = {k: v.detach().clone() for k, v in self.params.items()}
        self.library = library
        self.guard = asyncio.Lock()

    @torch.no_grad()
    def mix(self, wanted):
        for name, param in self.params.items():
            param.copy_(self.clean[name])
        for adapter, strength in wanted.items():
            for name, entry in self.library[adapter].items():
                self.params[name].add_(entry.delta(), alpha=strength)


def parse_strength(raw: Optional[float]) -> float:
    return float(raw or 1.0)


async def set_mix(request):
    mixer = request.app["mixer"]
    body = await request.json()
    wanted = {}
    for item in body["adapters"]:
        if item["name"] not in mixer.library:
            raise web.HTTPNotFound(text=item["name"])
        wanted[item["name"]] = parse_strength(item.get("strength"))
    async with mixer.guard:
        mixer.mix(wanted)
    return web.json_response({"active": wanted})


def make_app(model, library):
    app = web.Application()
    app["mixer"] = Mixer(model, library)
    app.router.add_post("/mix", set_mix)
    return app
