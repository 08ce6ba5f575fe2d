"""Black boxes. Only this package imports TensorFlow, Keras and OpenVINO, each when needed."""
