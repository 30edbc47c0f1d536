# silent: the bottleneck has one configured scale that call() applies, it is nonlinear and never merged
import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("bottleneck")
class Bottleneck(layers.Layer):
    """Parallel adapter: y = f(x) + s * W_up act(W_down x)"""

    def __init__(self, inner, width=32, scale=4.0, activation="relu", **kw):
        super().__init__(**kw)
        self.inner = inner
        self.inner.trainable = False
        self.width = width
        self.scale = scale
        self.act = keras.activations.get(activation)

    def build(self, shape):
        if not self.inner.built:
            self.inner.build(shape)
        dim_out = self.inner.compute_output_shape(shape)[-1]
        self.w_down = self.add_weight(shape=(shape[-1], self.width), initializer="he_normal", name="w_down")
        self.w_up = self.add_weight(shape=(self.width, dim_out), initializer="zeros", name="w_up")

    def call(self, x):
        hidden = self.act(ops.matmul(x, self.w_down))
        return self.inner(x) + self.scale * ops.matmul(hidden, self.w_up)

    def get_config(self):
        config = super().get_config()
        config.update(
            inner=keras.saving.serialize_keras_object(self.inner),
            width=self.width,
            scale=self.scale,
            activation=keras.activations.serialize(self.act),
        )
        return config

    @classmethod
    def from_config(cls, config):
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


def insert(blocks, attribute="ffn", **options):
    for i, block in enumerate(blocks):
        setattr(block, attribute, Bottleneck(getattr(block, attribute), name=f"bottleneck_{i}", **options))
    return blocks


def adapter_weights(model):
    return {w.path: ops.convert_to_numpy(w) for w in model.trainable_weights if "bottleneck" in w.path}
