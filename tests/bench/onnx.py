"""The float nets in ONNX Runtime, for comparison: python -m tests.bench.onnx BUILD [--packages DIR]

ONNX's converter wants packages that the project does not pin: they go into a folder of their own, which only this
module looks at (`python -m pip install --no-deps --target build/onnx onnx onnxruntime tf2onnx`).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer.workers.tensorflow_ready import prepare

NETS = ("mlp", "cnn", "gru", "lstm", "transformer")


def main() -> None:
    """One line per net: p50 of a window, and how far its probabilities are from the model's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="what `trainer build` left")
    parser.add_argument("--packages", type=Path, default=Path("build/onnx"), help="default: build/onnx")
    options = parser.parse_args()
    sys.path.append(str(options.packages.resolve()))
    prepare()
    for name in NETS:
        print(_measured(options.build, name), flush=True)


def _measured(build: Path, name: str) -> str:
    import onnxruntime

    from trainer.architectures.named import architecture_named

    model: Any = architecture_named(name).load(build / "checkpoints" / "held_out_host" / f"{name}-realistic" / "full-0")
    shape = model.net.input_shape[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx(model.net, shape), options)
    given = session.get_inputs()[0].name
    windows = np.random.default_rng(0).normal(size=(500, *shape)).astype(np.float32)
    took, said = [], []
    for window in windows:
        began = time.perf_counter()
        said.append(session.run(None, {given: window[None]})[0][0])
        took.append(time.perf_counter() - began)
    off = float(np.abs(np.array(said) - model.predict(windows)).max())
    p50, p99 = np.percentile(took, [50, 99]) * 1e6
    return (
        f"{name} float32 in onnxruntime {onnxruntime.__version__}: p50 {p50:.1f} us, p99 {p99:.1f} us, off by {off:.1e}"
    )


def _onnx(net: Any, shape: tuple[int, ...]) -> bytes:
    import tensorflow as tf
    import tf2onnx

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32)])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def one_window(x: Any) -> Any:
        return net(x, training=False)

    made, _ = tf2onnx.convert.from_function(
        one_window,
        input_signature=one_window.input_signature,
        opset=17,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    data: bytes = made.SerializeToString()
    return data


def _erfc(graph: Any, node: Any, name: str, _arguments: Any) -> None:
    """tf2onnx knows no Erfc; ONNX has Erf, and the one is 1 less the other."""
    one = graph.make_const(f"{name}_one", np.ones((), np.float32)).output[0]
    given, result = node.input[0], node.output[0]
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [given])
    graph.make_node("Sub", [one, erf.output[0]], outputs=[result])


if __name__ == "__main__":
    main()
