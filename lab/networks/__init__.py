"""Black boxes: only this package imports TensorFlow, Keras or OpenVINO, when needed."""
