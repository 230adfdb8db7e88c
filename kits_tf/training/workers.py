"""The devices that train together: one, all GPUs of a machine, or those of several machines.

Several machines ("workers") are named in the environment variable TF_CONFIG, the same on each but for its own index:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

Every worker runs the same command on the same, shared folders; worker 0, the chief, writes. A worker that dies takes
the others' next step with it: TensorFlow's collectives wait for it, for minutes. So each worker looks whether the
others' ports still answer, and ends by itself, with their name, when one does not.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import typing

import tensorflow as tf

from kits_tf.errors import InputError

LOOK_EVERY = 3.0  # seconds
LOOKS = 4  # without an answer in a row, and a worker counts as dead
PATIENCE = 5.0  # seconds for one answer


def addresses() -> tuple[list[tuple[str, int]], int]:
    """(addresses of all workers, index of this one) after TF_CONFIG; ([], 0) without it.

    Raises:
        InputError: if TF_CONFIG is no such JSON, or names other tasks than workers.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return [], 0
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        found = json.loads(text)
        workers, task = found["cluster"]["worker"], found["task"]
        index = int(task["index"])
        if task["type"] != "worker" or set(found["cluster"]) != {"worker"} or not 0 <= index < len(workers):
            raise ValueError("workers alone, and an index of theirs")
        return [_split(worker) for worker in workers], index
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG: cannot be used ({error!r}), expected as {example}") from error


def _split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The tf.distribute.Strategy of a name. To be called before TensorFlow does anything else.

    Args:
        name: "one" device; "mirrored" over all GPUs of this machine; "multiworker", over all GPUs of the machines in
            TF_CONFIG (NCCL between GPUs, a ring between CPUs); "auto", the first of multiworker, mirrored and one that
            there is more than one device for.

    Raises:
        InputError: if TF_CONFIG does not fit.
    """
    workers, _ = addresses()
    if name == "auto":
        if len(workers) > 1:
            name = "multiworker"
        else:
            name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"
    if name == "multiworker":
        if len(workers) < 2:
            raise InputError("--strategy=multiworker expects TF_CONFIG to name two workers or more")
        ring = tf.distribute.experimental.CommunicationImplementation
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=ring.NCCL if tf.config.list_physical_devices("GPU") else ring.RING)
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def compiles(xla: str, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA compiles the training step: "auto" on a single GPU (on CPUs it is slower, a 3D convolution tenfold).

    Raises:
        InputError: for "on" with several replicas: their sums inside the step are not compiled everywhere.
    """
    if strategy.num_replicas_in_sync > 1:
        if xla == "on":
            raise InputError(f"--xla=on is for one device, and there are {strategy.num_replicas_in_sync} replicas; "
                             f"give --strategy=one or --xla=auto")
        return False
    return xla == "on" or (xla == "auto" and bool(tf.config.list_logical_devices("GPU")))


class Watch:
    """Ends this process when another worker has died; a context manager around what the workers do together.

    Looks at the others' ports from a thread of its own, since the main thread hangs in TensorFlow. Nothing happens
    where there is one worker only.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        workers, own = addresses()
        many = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self._others = {index: worker for index, worker in enumerate(workers) if many and index != own}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._strategy = strategy

    def __enter__(self) -> typing.Self:
        if self._others:
            self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        """Ends the watch. TensorFlow's own complaint about a dead worker gives way to ours, which names it."""
        if self._others and isinstance(error, tf.errors.OpError):
            self._thread.join(2 * LOOKS * (LOOK_EVERY + PATIENCE))
        self._over.set()

    def leave(self) -> None:
        """Ends the watch when all workers have come to the end of their work, the chief with its writing too.

        Twice round: whoever is through with the first knows that all are done, but some may still be fetching their
        sums from it. The second shows that all have the first; that nobody is left to finish it is no harm.
        """
        if not self._others:
            return
        agree(self._strategy, 0)
        self._over.set()
        last = threading.Thread(target=self._last_round, daemon=True)
        last.start()
        last.join(PATIENCE)

    def _last_round(self):
        with contextlib.suppress(tf.errors.OpError):
            agree(self._strategy, 0)

    def _look(self):
        missed = dict.fromkeys(self._others, 0)
        while not self._over.wait(LOOK_EVERY):
            for index, address in self._others.items():
                missed[index] = 0 if _answers(address) else missed[index] + 1
                if missed[index] >= LOOKS and not self._over.is_set():
                    host, port = address
                    print(f"worker {index} ({host}:{port}) has died: nobody answered {LOOKS} times in a row. This "
                          f"worker ends too; start all again with the same command, and they go on from the last "
                          f"checkpoint", file=sys.stderr, flush=True)
                    os._exit(1)


def _answers(address):
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
        return True
    except OSError:
        return False


def writes(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes files: of several workers, the first."""
    resolver = strategy.cluster_resolver
    return resolver is None or (resolver.task_id or 0) == 0


def agree(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Whether a whole number is the same on all workers. All of them must ask, and wait for each other."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True

    @tf.function(autograph=False)
    def sums(number):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([number, number**2]))

    both = strategy.run(sums, args=(tf.constant(number, tf.float64),))
    total, squares = strategy.experimental_local_results(both)[0].numpy()
    return total**2 == strategy.num_replicas_in_sync * squares  # else the numbers have a variance

