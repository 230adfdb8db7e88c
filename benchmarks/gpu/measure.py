"""Compiles the output of lower.py, compares its results and times it against a matrix product. Needs only JAX.

    python benchmarks/gpu/measure.py lowered [ROUNDS]
"""

import json
import pathlib
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from drawn import drawn
from jax._src.interpreters import mlir  # JAX has no public function that compiles HLO
from jax._src.lib import xla_client
from jax._src.lib.mlir import ir

SIDE = 8192  # rows and columns of the matrices
CALLS = 20  # calls per timing


def program(path, device):
    """Compiles a .hlo file to a function from arrays on the device to a list of arrays on the device."""
    with mlir.make_ir_context():
        module = ir.Module.parse(xla_client._xla.mlir.hlo_to_stablehlo(path.read_bytes()))
        module.operation.attributes["mhlo.input_output_alias"] = ir.ArrayAttr.get([])  # arguments are used repeatedly
        written = mlir.module_to_bytecode(module)
    compiled = device.client.compile_and_load(written, xla_client.DeviceList((device,)), xla_client.CompileOptions())
    return lambda *arrays: compiled.execute(list(arrays))


def seconds(call, rounds):
    """Returns the median seconds of a call whose result stays on the device."""
    jax.block_until_ready(call())
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(CALLS):
            answer = call()
        jax.block_until_ready(answer)
        found.append((time.perf_counter() - began) / CALLS)
    return statistics.median(found)


def matrix_rates(device, rounds):
    """Returns TFLOP/s of a large matrix product by precision; float32 with XLA's default, which is TF32 on GPUs."""
    rates = {}
    multiply = jax.jit(jnp.matmul)
    for precision in ("float32", "bfloat16", "float16"):
        matrix = jax.device_put(jnp.ones((SIDE, SIDE), precision), device)
        rates[precision] = 2 * SIDE**3 / seconds(lambda matrix=matrix: multiply(matrix, matrix), rounds) / 1e12
    return rates


def main(folder, rounds):
    device = jax.devices()[0]
    rates = matrix_rates(device, rounds)
    print(f"{device.device_kind}, JAX {jax.__version__}, medians of {rounds} rounds of {CALLS} calls\n")
    print("| net | does | precision | images a call | ms a call | images/s | TFLOP/s | matrix product, TFLOP/s "
          "| largest difference from float32 on a CPU |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text())
        call = program(path.with_suffix(".hlo"), device)
        arrays = [jax.device_put(drawn(number, shape), device) for number, shape in enumerate(facts["arguments"])]
        here = np.load(folder / f"{facts['stage']}_{facts['does']}_float32.npy")
        difference = f"{np.abs(np.asarray(call(*arrays)[0], np.float32) - here).max():.1e}"
        took = seconds(lambda call=call, arrays=arrays: call(*arrays), rounds)
        rate = f"{facts['operations'] / took / 1e12:.2f}" if facts["operations"] else ""
        print(f"| {facts['stage']} | {facts['does']} | {facts['precision']} | {facts['images']} | {took * 1e3:.2f} "
              f"| {facts['images'] / took:.0f} | {rate} | {rates[facts['precision']]:.1f} | {difference} |", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
