"""Selects the devices of a run: one device, all GPUs of a machine, or several machines.

The environment variable TF_CONFIG lists the machines ("workers"). It is the same on each, except for the index:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

Every worker runs the same command on the same shared folders; only worker 0, the chief, writes. If a worker dies, the
others block in their next step, because TensorFlow's collectives wait for it for minutes. Therefore each worker polls
the ports of the others and exits, naming the dead worker, if one does not answer.
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

LOOK_EVERY = 3.0  # seconds between polls
LOOKS = 4  # consecutive polls without an answer after which a worker counts as dead
PATIENCE = 5.0  # seconds to wait for an answer


def addresses() -> tuple[list[tuple[str, int]], int]:
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
        return [_split(worker) for worker in workers], index
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if type(error) is ValueError else repr(error)
        raise InputError(f"TF_CONFIG: cannot be used ({reason}); example: {example}") from error


def _split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


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


class Watch:
    """Context manager that ends this process when another worker has died.

    A thread polls the ports of the other workers, because the main thread may block in TensorFlow. Does nothing if
    there is only one worker.
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
        """Ends the polling. After a TensorFlow error it first waits until a dead worker would be detected, because our
        message names the worker."""
        if self._others and isinstance(error, tf.errors.OpError):
            self._thread.join(2 * LOOKS * (LOOK_EVERY + PATIENCE))
        self._over.set()

    def leave(self) -> None:
        """Ends the polling once all workers are done, including the chief's writing.

        Uses two barriers. After the first, all workers are done, but some may still be receiving its result from this
        worker. The second confirms that all have received it; it has a timeout, since the others may have exited.
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

