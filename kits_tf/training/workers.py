"""Selects the devices of a run: one device, all GPUs of a machine, or several machines.

The environment variable TF_CONFIG lists the machines ("workers"). It is the same on each, except for the index:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

Every worker runs the same command on the same shared folders; only worker 0, the chief, writes. If a worker is lost,
TensorFlow ends the step of the others with an error: at once if its process has ended, and after missed heartbeats if
it hangs (0.1 s and 10 to 14 s with two workers on one machine, TensorFlow 2.15 and 2.21).
"""

import contextlib
import json
import os
import re

import tensorflow as tf

from kits_tf.errors import InputError


def addresses() -> tuple[list[str], int]:
    """Reads TF_CONFIG: returns (addresses of all workers, index of this one), or ([], 0) if it is not set.

    Raises:
        InputError: if TF_CONFIG is not JSON of this form, or has tasks other than workers.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return [], 0
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        if set(cluster) != {"worker"}:
            raise ValueError(f"its cluster has {' and '.join(sorted(cluster)) or 'no task'}, expected workers only")
        workers, index = cluster["worker"], int(task["index"])
        if task["type"] != "worker" or not 0 <= index < len(workers):
            raise ValueError(f"its task is {task['type']} {index}, expected one of {len(workers)} workers")
        if not all(re.fullmatch(r".+:\d+", worker) for worker in workers):
            raise ValueError(f"its workers are {', '.join(workers)}, expected HOST:PORT for each")
        return list(workers), index
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if type(error) is ValueError else repr(error)
        raise InputError(f"TF_CONFIG: cannot be used ({reason}); unset it to train on this machine alone, or set it "
                         f"as in this example: {example}") from error


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the tf.distribute.Strategy of a name. Call it before any other use of TensorFlow.

    Args:
        name: "one" for one device; "mirrored" for all GPUs of this machine; "multiworker" for all machines in
            TF_CONFIG (NCCL between GPUs, a ring between CPUs). "auto" selects multiworker if TF_CONFIG lists several
            workers, else mirrored if there are several GPUs, else one.

    Raises:
        InputError: if TF_CONFIG is invalid, or lists fewer than two workers for "multiworker".
    """
    workers, _ = addresses()
    if name == "auto":
        if len(workers) > 1:
            name = "multiworker"
        else:
            name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"
    if name == "multiworker":
        if len(workers) < 2:
            raise InputError("--strategy=multiworker needs two workers or more in TF_CONFIG")
        ring = tf.distribute.experimental.CommunicationImplementation
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=ring.NCCL if tf.config.list_physical_devices("GPU") else ring.RING)
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def compiles(xla: str, strategy: tf.distribute.Strategy) -> bool:
    """Returns whether XLA compiles the training step; "auto" means yes on a single GPU, else no.

    On CPUs, XLA makes the step slower (a 3D convolution tenfold).

    Raises:
        InputError: for "on" with several replicas: XLA cannot compile the step's sums over replicas on all devices.
    """
    if strategy.num_replicas_in_sync > 1:
        if xla == "on":
            raise InputError(f"--xla=on works on one device only, but there are {strategy.num_replicas_in_sync} "
                             f"replicas; give --strategy=one or --xla=auto")
        return False
    return xla == "on" or (xla == "auto" and bool(tf.config.list_logical_devices("GPU")))


def writes(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes files; of several workers only the first does."""
    resolver = strategy.cluster_resolver
    return resolver is None or (resolver.task_id or 0) == 0


def agree(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Returns whether an integer is the same on all workers. Blocks until all workers have called it."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True

    @tf.function(autograph=False)
    def sums(number):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([number, number**2]))

    both = strategy.run(sums, args=(tf.constant(number, tf.float64),))
    total, squares = strategy.experimental_local_results(both)[0].numpy()
    return total**2 == strategy.num_replicas_in_sync * squares  # holds only if the variance of the numbers is zero


def leave(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers are done: a worker that ended earlier would interrupt what the others still exchange."""
    with contextlib.suppress(tf.errors.OpError):  # the others have received this worker's last word and ended
        agree(strategy, 0)


def lost(error: tf.errors.OpError) -> InputError:
    """Returns the error for a worker that no longer answers, from TensorFlow's error of a step that needs it."""
    workers, own = addresses()
    named = [int(index) for index in re.findall(r"/job:worker/replica:0/task:(\d+)", str(error))]
    who = next((f"worker {index} ({workers[index]})" for index in named if own != index < len(workers)), "a worker")
    return InputError(f"{who} has died or does not answer; this worker ends too; start all again with the same "
                      f"command, and they continue from the last checkpoint")
