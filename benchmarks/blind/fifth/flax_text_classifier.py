# wrong in lines 20 and 38: the rank comes from a flag while alpha stays at the module default 16
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("rank", 4, "size of the bottleneck")
flags.DEFINE_float("lr", 3e-4, "learning rate")
flags.DEFINE_integer("steps", 2000, "updates")
flags.DEFINE_integer("width", 512, "model width")


class AdaptedDense(nn.Module):
    features: int
    rank: int
    alpha: float = 16.0

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        a = self.param("a", nn.initializers.normal(0.02), (x.shape[-1], self.rank))
        b = self.param("b", nn.initializers.zeros, (self.rank, self.features))
        return x @ jax.lax.stop_gradient(kernel) + (x @ a @ b) * (self.alpha / self.rank)


class Classifier(nn.Module):
    width: int
    rank: int
    classes: int = 4

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.gelu(AdaptedDense(self.width, self.rank)(x))
        return nn.Dense(self.classes)(x.mean(axis=1))


@partial(jax.jit, static_argnums=(0, 1))
def update(model, tx, params, opt_state, x, y):
    def loss_fn(p):
        logits = model.apply({"params": p}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def main(_):
    key = jax.random.PRNGKey(0)
    model = Classifier(FLAGS.width, FLAGS.rank)
    x = jax.random.normal(key, (8, 32, FLAGS.width))
    y = jnp.zeros((8,), jnp.int32)
    params = model.init(key, x)["params"]
    tx = optax.adamw(FLAGS.lr)
    opt_state = tx.init(params)
    for step in range(FLAGS.steps):
        params, opt_state, loss = update(model, tx, params, opt_state, x, y)
        if step % 100 == 0:
            print(step, float(loss))


if __name__ == "__main__":
    app.run(main)
