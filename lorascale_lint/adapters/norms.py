"""How large each module's delta is: the one thing about a file that takes more than its header."""

from __future__ import annotations

import math

import numpy as np

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.products import LowRank, NotMade, Product, parts_of, product_of
from lorascale_lint.adapters.tensors import Reader


def delta_norms(adapter: Adapter) -> dict[str, float]:
    """The Frobenius norm of scale * B A by module, before DoRA's norm; modules are read one at a time.

    Modules whose scale, or whose product, can't be made are left out. Raises InputError if the file can't be
    read to its end.
    """
    found: dict[str, float] = {}
    with Reader() as reader:
        for module in adapter.modules:
            if module.scale is None:
                continue
            try:
                product = product_of(adapter, module, reader)
            except NotMade:
                continue
            found[module.name] = abs(module.scale) * math.sqrt(max(0.0, _square(product)))
    return found


def _square(product: Product) -> float:
    if isinstance(product, LowRank):
        return product.overlap(product)
    return sum(float(np.sum(part.astype(np.float64) ** 2)) for part in parts_of(product))
