# silent: LoRa is the radio modulation here, alpha is the path-loss exponent and rank the gateway's place in the list
"""Link planning for a LoRaWAN network: picks spreading factors and transmit powers."""
import argparse
import csv
import logging
import math
from dataclasses import dataclass

log = logging.getLogger("lora")

SENSITIVITY = {7: -123.0, 8: -126.0, 9: -129.0, 10: -132.0, 11: -134.5, 12: -137.0}
BANDWIDTH = 125_000


@dataclass
class LoraConfig:
    lora_alpha: float = 3.2
    ref_loss: float = 40.0
    ref_distance: float = 1.0
    margin: float = 8.0
    max_power: float = 14.0


@dataclass
class Node:
    name: str
    x: float
    y: float
    load: float = 1.0


def path_loss(config: LoraConfig, distance: float) -> float:
    r = max(distance, config.ref_distance)
    return config.ref_loss + 10 * config.lora_alpha * math.log10(r / config.ref_distance)


def airtime(sf: int, payload: int, preamble: int = 8, coding: int = 1) -> float:
    symbol = 2**sf / BANDWIDTH
    optimise = 1 if sf >= 11 else 0
    n = math.ceil((8 * payload - 4 * sf + 28 + 16) / (4 * (sf - 2 * optimise))) * (coding + 4)
    return symbol * (preamble + 4.25 + 8 + max(n, 0))


def choose(config: LoraConfig, distance: float):
    """Lowest spreading factor that closes the link, then the lowest power."""
    loss = path_loss(config, distance)
    for sf, sensitivity in sorted(SENSITIVITY.items()):
        spare = config.max_power - loss - sensitivity - config.margin
        if spare >= 0:
            power = config.max_power - min(12, 2 * int(spare // 2))
            return sf, power
    return None


def rank_gateways(node: Node, gateways):
    dist = lambda g: math.hypot(g.x - node.x, g.y - node.y)
    return sorted(((dist(g), g) for g in gateways), key=lambda t: t[0])


def plan(config, nodes, gateways, payload):
    rows = []
    for node in nodes:
        for rank, (distance, gateway) in enumerate(rank_gateways(node, gateways), 1):
            choice = choose(config, distance)
            if choice is None:
                log.warning("%s cannot reach gateway %s", node.name, gateway.name)
                break
            sf, power = choice
            scale = node.load / rank
            rows.append((node.name, gateway.name, rank, sf, power, scale * airtime(sf, payload)))
            if rank == 2:
                break
    return rows


def read_nodes(path):
    with open(path, newline="") as f:
        return [Node(r["name"], float(r["x"]), float(r["y"]), float(r.get("load") or 1)) for r in csv.DictReader(f)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("nodes")
    ap.add_argument("gateways")
    ap.add_argument("--alpha", type=float, default=3.2)
    ap.add_argument("--payload", type=int, default=20)
    ns = ap.parse_args()
    config = LoraConfig(lora_alpha=ns.alpha)
    for row in plan(config, read_nodes(ns.nodes), read_nodes(ns.gateways), ns.payload):
        print(",".join(str(v) for v in row))
