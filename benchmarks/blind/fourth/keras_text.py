# wrong in line 36: get_config leaves alpha out, so a model saved with another alpha is rebuilt by load_model with the default of 8
"""LoRA for a Keras text classifier: layer, wrapping, training, saving."""
import argparse

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="adapters")
class LowRankDense(layers.Layer):
    def __init__(self, units, rank=8, alpha=8.0, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.alpha = alpha
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(dim, self.units), trainable=False)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros", trainable=False)
        self.down = self.add_weight(name="down", shape=(dim, self.rank), initializer="he_uniform")
        self.up = self.add_weight(name="up", shape=(self.rank, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs):
        y = ops.matmul(inputs, self.kernel)
        y = y + (self.alpha / self.rank) * ops.matmul(ops.matmul(inputs, self.down), self.up)
        return self.activation(y + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        config = super().get_config()
        config.update(
            units=self.units,
            rank=self.rank,
            activation=keras.activations.serialize(self.activation),
        )
        return config


def with_adapters(model, rank, alpha, skip=("logits",)):
    """Clone a functional model with every Dense but the skipped ones adapted."""

    def clone(layer):
        if isinstance(layer, layers.Dense) and layer.name not in skip:
            return LowRankDense(layer.units, rank, alpha, activation=layer.activation, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    new = keras.models.clone_model(model, clone_function=clone)
    for old_layer, new_layer in zip(model.layers, new.layers):
        if isinstance(new_layer, LowRankDense):
            kernel, bias = old_layer.get_weights()
            new_layer.kernel.assign(kernel)
            new_layer.bias.assign(bias)
        else:
            new_layer.set_weights(old_layer.get_weights())
            new_layer.trainable = new_layer.name in skip
    return new


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("base", help=".keras file of the pretrained classifier")
    ap.add_argument("out")
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=32.0)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()

    (x, y), (xv, yv) = keras.datasets.imdb.load_data(num_words=20000)
    x = keras.utils.pad_sequences(x, 256)
    xv = keras.utils.pad_sequences(xv, 256)
    model = with_adapters(keras.models.load_model(args.base), args.rank, args.alpha)
    model.compile(keras.optimizers.Adam(5e-4), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, validation_data=(xv, yv), epochs=args.epochs, batch_size=64)
    model.save(args.out)


if __name__ == "__main__":
    main()
