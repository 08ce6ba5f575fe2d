"""TensorFlow and Keras, imported without their messages and set up for the lab.

A user's ``keras.json`` may name another backend, order of axes or precision.
"""

import contextlib
import os


@contextlib.contextmanager
def _quiet_start_up():
    # While it is imported, TensorFlow writes to stderr whatever its settings, and
    # notebooks would show it.
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
with _quiet_start_up():
    import keras
    import tensorflow as tf

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"Keras was imported before the lab, with the backend {keras.config.backend()}: "
        "start again and import the lab first"
    )
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
# Else some GPUs round the factors of a product to 10 bits.
tf.config.experimental.enable_tensor_float_32_execution(False)
