# wrong in line 23: alpha // rank is 0 whenever alpha is below the rank and rounds down otherwise
import dataclasses
import json
from typing import Sequence

import keras
from keras import layers, ops


@dataclasses.dataclass
class AdapterConfig:
    rank: int = 16
    alpha: int = 8
    targets: Sequence[str] = ("query", "value")

    @classmethod
    def from_json(cls, path):
        with open(path) as fh:
            return cls(**json.load(fh))

    @property
    def factor(self):
        return self.alpha // self.rank


class LoraDense(layers.Layer):
    def __init__(self, dense, config: AdapterConfig, **kw):
        super().__init__(name=f"{dense.name}_adapted", **kw)
        self.dense = dense
        self.dense.trainable = False
        self.config = config

    def build(self, shape):
        if not self.dense.built:
            self.dense.build(shape)
        self.down = self.add_weight(shape=(shape[-1], self.config.rank), initializer="he_uniform", name="down")
        self.up = self.add_weight(shape=(self.config.rank, self.dense.units), initializer="zeros", name="up")

    def call(self, x):
        low = ops.matmul(ops.matmul(x, self.down), self.up)
        return self.dense(x) + low * self.config.factor

    def merged_kernel(self):
        return self.dense.kernel + self.config.factor * ops.matmul(self.down, self.up)


def attach(block, config):
    count = 0
    for name in config.targets:
        dense = getattr(block, name)
        setattr(block, name, LoraDense(dense, config))
        count += 1
    return count


def finish(block, config):
    for name in config.targets:
        wrapped = getattr(block, name)
        wrapped.dense.kernel.assign(wrapped.merged_kernel())
        setattr(block, name, wrapped.dense)


def optimizer(lr):
    return keras.optimizers.AdamW(learning_rate=lr, weight_decay=0.0)
