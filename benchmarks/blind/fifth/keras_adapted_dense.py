# wrong in line 31: fused_kernel leaves the gain out that call applies
import keras
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable(package="adapters")
class AdaptedDense(layers.Layer):
    def __init__(self, units, rank=4, alpha=16.0, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.alpha = alpha
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        n_in = input_shape[-1]
        self.kernel = self.add_weight(shape=(n_in, self.units), trainable=False, name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", trainable=False, name="bias")
        self.enter = self.add_weight(
            shape=(n_in, self.rank), initializer=initializers.RandomNormal(stddev=0.02), name="enter"
        )
        self.leave = self.add_weight(shape=(self.rank, self.units), initializer="zeros", name="leave")
        self.gain = self.alpha / self.rank

    def call(self, x):
        y = ops.matmul(x, self.kernel) + self.bias
        y = y + self.gain * ops.matmul(ops.matmul(x, self.enter), self.leave)
        return self.activation(y)

    def fused_kernel(self):
        return self.kernel + ops.matmul(self.enter, self.leave)

    def get_config(self):
        config = super().get_config()
        config.update(
            units=self.units,
            rank=self.rank,
            alpha=self.alpha,
            activation=keras.activations.serialize(self.activation),
        )
        return config


def export_plain(model):
    """Same network with ordinary Dense layers."""

    def clone(layer):
        if isinstance(layer, AdaptedDense):
            return layers.Dense(layer.units, activation=layer.activation, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    plain = keras.models.clone_model(model, clone_function=clone)
    for old, new in zip(model.layers, plain.layers):
        if isinstance(old, AdaptedDense):
            new.set_weights([ops.convert_to_numpy(old.fused_kernel()), ops.convert_to_numpy(old.bias)])
        else:
            new.set_weights(old.get_weights())
    return plain
