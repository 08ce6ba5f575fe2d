"""What computes predictions: OpenVINO on the processor, or TensorFlow on a GPU."""

import collections
import functools
import hashlib
import importlib.metadata
import math
import os
import sys
import threading

import numpy as np


def select(runtime=None):
    """`runtime` if given, else TensorFlow with a GPU, else OpenVINO if installed."""
    if runtime is None:
        return "openvino" if not _has_gpu() and _has_openvino() else "tensorflow"
    return runtime


def _has_gpu():
    # TensorFlow takes seconds to import: not where it cannot find a GPU.
    devices = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # NVIDIA; Windows' subsystem; AMD
    plugins = ("tensorflow-metal", "tensorflow-directml-plugin")
    if not any(map(os.path.exists, devices)) and not any(map(version, plugins)):
        return False
    from lab.networks.tensorflow_setup import tf

    return bool(tf.config.list_physical_devices("GPU"))


def _has_openvino():
    try:
        import_openvino()
    except ImportError as error:
        print_once(f"Predictions are made with TensorFlow, without OpenVINO: {error}")
        return False
    return True


@functools.cache
def print_once(line):
    """Print a line, but not again in the same process."""
    print(line, flush=True)


def describe(runtime):
    """Name, version and precision of a runtime, as results record them."""
    if runtime not in ("openvino", "tensorflow"):
        return runtime
    if runtime == "openvino":
        return f"OpenVINO {version('openvino')}, float32"
    from lab.networks.tensorflow_setup import tf

    return f"TensorFlow {tf.__version__}{' on a GPU' if _has_gpu() else ''}, float32"


def version(package):
    """Version of a package, which is not imported; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def n_threads():
    """Number of cores that this process may use, at most ``OMP_NUM_THREADS``."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) else cores


def import_openvino():
    """The module openvino, imported without its telemetry."""
    # It would send an event to its makers at each import.
    blocked = "openvino_telemetry"
    sys.modules.setdefault(blocked, None)
    try:
        import openvino
    finally:
        if sys.modules.get(blocked, blocked) is None:
            sys.modules.pop(blocked, None)  # another thread may have done it
    return openvino


@functools.cache
def openvino_core():
    """OpenVINO's core: one for all networks of a process."""
    return import_openvino().Core()


class OpenVino:
    """A network on OpenVINO: from images (N, H, W, 3) to float32 scores.

    The images that the network takes at once, as a rule one, go through it alone and on
    one thread, several times at once. One image's scores are therefore bitwise the same
    whatever other images are in the call and however many threads there are.

    Parameters
    ----------
    model : openvino.Model
        Of a fixed number of float32 images.
    """

    def __init__(self, model):
        threads = n_threads()
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",  # some processors would take bfloat16
            "NUM_STREAMS": str(threads),
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # processes would pin to the same cores
        }
        compiled = openvino_core().compile_model(model, "CPU", options)
        # A stream that becomes free finds its next image waiting. OpenVINO's own queue
        # calls back from other threads, which abort a process that ends meanwhile.
        self._requests = [compiled.create_infer_request() for _ in range(2 * threads)]
        self._lock = threading.Lock()
        self._images = tuple(compiled.input(0).shape)
        self._n_classes = math.prod(compiled.output(0).shape) // self._images[0]

    def __call__(self, images):
        """Scores (N, n_classes), float32, in memory of their own."""
        outputs = np.empty((len(images), self._n_classes), np.float32)
        working = collections.deque()

        def store():
            request, start = working.popleft()
            request.wait()
            scores = request.get_output_tensor(0).data.reshape(-1, self._n_classes)
            outputs[start : start + len(scores)] = scores[: len(outputs) - start]
            return request

        with self._lock:
            try:
                for start in range(0, len(images), self._images[0]):
                    n = len(working)
                    request = store() if n == len(self._requests) else self._requests[n]
                    working.append((request, start))
                    batch = images[start : start + self._images[0]].astype(np.float32)
                    # `resize` fills the last batch with its own images.
                    request.start_async({0: np.resize(batch, self._images)})
            finally:
                while working:
                    store()
        return outputs


def on_tensorflow(network, preprocess, input_size):
    """The same on TensorFlow, and a digest of what it computes.

    Last digits may depend on the other images of a call.
    """
    from lab.networks import keras_networks

    function = keras_networks.traced(network, preprocess, input_size)
    digest = hashlib.sha256(function.graph.as_graph_def().SerializeToString(deterministic=True))
    for array in network.get_weights():
        digest.update(np.ascontiguousarray(array))
    cast = keras_networks.tf.cast  # uint8 images are faster to copy than to convert first
    return lambda images: function(cast(images, "float32")).numpy(), digest.hexdigest()
