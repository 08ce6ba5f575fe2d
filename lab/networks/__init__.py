"""Black boxes and how they are asked. Only what is in this folder imports TensorFlow, and `asking` and `classes` do not."""
