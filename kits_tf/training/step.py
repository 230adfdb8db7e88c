"""One training step over all replicas: loss, gradients, and what makes of them better weights.

    loss      of the whole batch, wherever its parts lie (losses.py adds its sums up over replicas)
    gradient  in float16 of the loss times a large number, so that small ones survive; shortened if it is too long
    weights   moved by the optimizer; their moving average follows, if one is kept
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import tensorflow as tf

from kits_tf import losses
from kits_tf.training.task import Task

# Loss scaling as in Micikevicius et al. 2018, arXiv:1710.03740, with the numbers of Keras's LossScaleOptimizer. That
# class itself has one interface on Keras 2 and another on Keras 3, and lets nobody clip what it has unscaled.
FIRST_SCALE = 2.0**15
STEPS_TO_DOUBLE = 2000


def tf_variables(variables: Iterable) -> list[tf.Variable]:
    """The tf.Variables behind Keras's: Keras 3 wraps them."""
    return [variable if isinstance(variable, tf.Variable) else variable.value for variable in variables]


def _shared(value, dtype):
    """A variable that every replica has the same value of, and may assign the same value to."""
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


class TrainStep:
    """The step and all it changes. To be made in the strategy's scope.

    Args:
        task: training.task.Task.
        strategy: tf.distribute.Strategy.
        compiled: whether XLA compiles the step.

    Attributes:
        model: the net, ending in probabilities.
        net: the same, ending in logits.
        optimizer: with its variables made.
        average: moving averages of the model's weights, in their order; none if `average_decay` is 0.
        scale: variables of the loss scale, in float16 only: the scale, and how many steps in a row had it right.
    """

    def __init__(self, task: Task, strategy: tf.distribute.Strategy, compiled: bool = False) -> None:
        self._task, self._strategy = task, strategy
        self.model, self.net, self.optimizer = task.build(strategy.num_replicas_in_sync)
        self.weights = tf_variables(self.model.weights)
        self._trainable = tf_variables(self.net.trainable_variables)
        self.average = [_shared(weight.numpy(), weight.dtype)
                        for weight in self.weights] if task.training.average_decay else []
        self.scale = ([_shared(FIRST_SCALE, tf.float32), _shared(0, tf.int32)]
                      if task.precision == "mixed_float16" else [])
        self._replicated = (tf.function(self._on_replica, jit_compile=True, autograph=False) if compiled
                            else self._on_replica)
        self._step = tf.function(self._on_all, autograph=False)

    def __call__(self, image: tf.Tensor, target: tf.Tensor, stop: bool) -> tf.Tensor:
        """Improves the net by one batch.

        Args:
            image, target: a batch, or the strategy's parts of one.
            stop: whether this worker is asked to stop.

        Returns:
            float32 tensor (4,): the batch's loss, the overlap and size of soft Dice (losses.soft_dice_sums), and how
            many replicas are asked to stop. The same on every worker.
        """
        return self._step(image, target, tf.constant(stop, tf.float32))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the moving averages in the weights' place for a while; without averages nothing changes."""
        raw = [weight.numpy() for weight in self.weights] if self.average else []
        try:
            for weight, mean in zip(self.weights, self.average, strict=False):
                weight.assign(mean.read_value())
            yield
        finally:
            for weight, value in zip(self.weights, raw, strict=False):
                weight.assign(value)

    def _on_all(self, image, target, stop):
        # Only float16 may have to take a step back, which is done where the weights of all replicas are at hand.
        back = [tf.identity(variable) for variable in self._undone()] if self.scale else []
        told, finite = self._strategy.run(self._replicated, args=(image, target, stop))
        if self.scale:
            finite = self._strategy.reduce(tf.distribute.ReduceOp.SUM, finite, axis=None) > 0
            for variable, before in zip(self._undone(), back, strict=True):
                self._strategy.extended.update(
                    variable, lambda now, old: now.assign(tf.where(finite, now, old)), args=(before,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, told, axis=None)

    def _undone(self):
        """What a step changes, but for the loss scale."""
        return [*self.weights, *tf_variables(self.optimizer.variables), *self.average]

    def _on_replica(self, image, target, stop):
        training, replicas = self._task.training, self._strategy.num_replicas_in_sync
        def total(tensors):
            return tensors

        if replicas > 1:
            total = functools.partial(tf.distribute.get_replica_context().all_reduce, tf.distribute.ReduceOp.SUM)
        scale = self.scale[0].read_value() if self.scale else tf.constant(1.0)
        with tf.GradientTape() as tape:
            logits = self.net(image, training=True)
            # The optimizer adds up the replicas' gradients, so that each owes its share of the loss.
            loss = self._task.loss()(target, logits, total=total) / replicas
            scaled = loss * scale if self.scale else loss
        gradients, finite = tape.gradient(scaled, self.net.trainable_variables), tf.constant(1.0)
        if self.scale or training.clip_norm:
            # The length is that of the gradients added up; the optimizer will add up as many equal parts.
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
        """Moves the average of the weights; it is shorter at first, as TensorFlow's own is, to forget fresh weights."""
        done = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(decay, (1.0 + done) / (10.0 + done))
        for mean, weight in zip(self.average, self.weights, strict=False):
            mean.assign(mean + (1.0 - decay) * (weight - mean))

    def _rescale(self, scale, finite):
        """Halves the loss scale where a gradient left float16's range, doubles it after many steps where none did."""
        good = tf.where(finite, self.scale[1] + 1, 0)
        double = good >= STEPS_TO_DOUBLE
        self.scale[0].assign(tf.where(finite, tf.where(double, scale * 2.0, scale), tf.maximum(scale / 2.0, 1.0)))
        self.scale[1].assign(tf.where(double, 0, good))
