"""One training step over all replicas: the loss, the gradients and the weight update.

    loss      computed over the whole batch; losses.py adds its sums over the replicas
    gradient  in float16, of the loss times a large scale, so that small gradients do not underflow; optionally clipped
    weights   updated by the optimizer; an optional moving average follows them
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import tensorflow as tf

from kits_tf import losses
from kits_tf.training.task import Task

# Loss scaling as in Micikevicius et al. 2018, arXiv:1710.03740, with the constants of Keras's LossScaleOptimizer. That
# class is not used because its interface differs between Keras 2 and 3, and it does not allow clipping the unscaled
# gradients.
FIRST_SCALE = 2.0**15
STEPS_TO_DOUBLE = 2000


def tf_variables(variables: Iterable) -> list[tf.Variable]:
    """Returns the tf.Variables of Keras variables; Keras 3 wraps them."""
    return [variable if isinstance(variable, tf.Variable) else variable.value for variable in variables]


def _shared(value, dtype):
    """Creates a variable that has the same value on every replica; each replica must assign the same value."""
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


class TrainStep:
    """The training step and the variables it updates. Create it in the strategy's scope.

    Args:
        compiled: whether XLA compiles the step.

    Attributes:
        task, strategy: as given.
        model: the net, ending in probabilities.
        net: the same net, ending in logits.
        optimizer: the optimizer, with its variables built.
        weights: tf.Variables of the model.
        average: moving averages of `weights`, in the same order; empty if `average_decay` is 0.
        scale: variables of the loss scale, in float16 only: the scale, and the number of consecutive steps with finite
            gradients.
    """

    def __init__(self, task: Task, strategy: tf.distribute.Strategy, compiled: bool = False) -> None:
        self.task, self.strategy = task, strategy
        self.model, self.net, self.optimizer = task.build(strategy.num_replicas_in_sync)
        self.weights = tf_variables(self.model.weights)
        self.average = [_shared(weight.numpy(), weight.dtype)
                        for weight in self.weights] if task.training.average_decay else []
        self.scale = ([_shared(FIRST_SCALE, tf.float32), _shared(0, tf.int32)]
                      if task.precision == "mixed_float16" else [])
        self._replicated = (tf.function(self._on_replica, jit_compile=True, autograph=False) if compiled
                            else self._on_replica)
        self._step = tf.function(self._on_all, autograph=False)

    def __call__(self, image: tf.Tensor, target: tf.Tensor, stop: bool) -> tf.Tensor:
        """Updates the weights with one batch.

        Args:
            image, target: a batch, or a batch distributed by the strategy.
            stop: whether this worker was asked to stop.

        Returns:
            float32 tensor (4,), the same on every worker: the loss of the batch, the overlap and size sums of soft Dice
            (losses.soft_dice_sums, first channel), and the number of replicas that were asked to stop.
        """
        return self._step(image, target, tf.constant(stop, tf.float32))

    @property
    def is_built(self) -> bool:
        """Whether the graph of the step has been built, which takes part of the first step."""
        return self._step.experimental_get_tracing_count() > 0

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Replaces the weights by their moving averages within a `with` block; does nothing without averages."""
        raw = [weight.numpy() for weight in self.weights] if self.average else []
        try:
            for weight, mean in zip(self.weights, self.average, strict=False):
                weight.assign(mean.read_value())
            yield
        finally:
            for weight, value in zip(self.weights, raw, strict=False):
                weight.assign(value)

    def _on_all(self, image, target, stop):
        # In float16, a step with non-finite gradients is undone. This needs the weights of all replicas, so it happens
        # outside the replica function.
        back = [tf.identity(variable) for variable in self._undone()] if self.scale else []
        told, finite = self.strategy.run(self._replicated, args=(image, target, stop))
        if self.scale:
            finite = self.strategy.reduce(tf.distribute.ReduceOp.SUM, finite, axis=None) > 0
            for variable, before in zip(self._undone(), back, strict=True):
                self.strategy.extended.update(
                    variable, lambda now, old: now.assign(tf.where(finite, now, old)), args=(before,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, told, axis=None)

    def _undone(self):
        """Returns all variables that a step changes, except the loss scale."""
        return [*self.weights, *tf_variables(self.optimizer.variables), *self.average]

    def _on_replica(self, image, target, stop):
        training, replicas = self.task.training, self.strategy.num_replicas_in_sync
        total = (functools.partial(tf.distribute.get_replica_context().all_reduce, tf.distribute.ReduceOp.SUM)
                 if replicas > 1 else lambda tensors: tensors)
        scale = self.scale[0].read_value() if self.scale else tf.constant(1.0)
        with tf.GradientTape() as tape:
            logits = self.net(image, training=True)
            # The optimizer sums the gradients of the replicas, so each replica contributes its share of the loss.
            loss = self.task.loss()(target, logits, total=total) / replicas
            scaled = loss * scale if self.scale else loss
        gradients, finite = tape.gradient(scaled, self.net.trainable_variables), tf.constant(1.0)
        if self.scale or training.clip_norm:
            # The norm is that of the summed gradients. They are divided by the number of replicas, because the
            # optimizer sums over the replicas again.
            gradients = [gradient / (scale * replicas) for gradient in total(gradients)]
            length = tf.linalg.global_norm(gradients) * replicas
            if self.scale:
                finite = tf.cast(tf.math.is_finite(length), tf.float32)
                self._rescale(scale, finite > 0)
            if training.clip_norm:
                shorter = training.clip_norm / tf.maximum(length, training.clip_norm)
                gradients = [gradient * shorter for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.net.trainable_variables, strict=True))
        self._follow(training.average_decay)
        dice = losses.soft_dice_sums(target[..., :1], tf.stop_gradient(logits[..., :1]))
        return tf.stack([loss, *tf.unstack(dice), stop]), finite

    def _follow(self, decay):
        """Updates the moving average. The decay is smaller in the first steps, as in TensorFlow's
        ExponentialMovingAverage, so that the initial weights lose their influence quickly. Keras's `use_ema` does not
        do so, and leaves out the batch statistics."""
        done = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(decay, (1.0 + done) / (10.0 + done))
        for mean, weight in zip(self.average, self.weights, strict=False):
            mean.assign(mean + (1.0 - decay) * (weight - mean))

    def _rescale(self, scale, finite):
        """Halves the loss scale if a gradient overflowed; doubles it after STEPS_TO_DOUBLE steps without overflow."""
        good = tf.where(finite, self.scale[1] + 1, 0)
        double = good >= STEPS_TO_DOUBLE
        self.scale[0].assign(tf.where(finite, tf.where(double, scale * 2.0, scale), tf.maximum(scale / 2.0, 1.0)))
        self.scale[1].assign(tf.where(double, 0, good))
