"""Models for tests that count or record calls, must not be called, or misbehave."""

import numpy as np


class Counting:
    """The `answer` of a subclass, with the number of calls and the batch sizes."""

    def __init__(self, batch_size=32):
        self.batch_size = batch_size
        self.calls = 0
        self.batches = []

    def __call__(self, images):
        self.calls += len(images)
        self.batches.append(len(images))
        return self.answer(images)


def forbidden(inputs):
    raise AssertionError("the model was called")


class Recorder:
    """A model that records the batches that it was given."""

    def __init__(self, model):
        self.model, self.seen = model, []

    def __call__(self, inputs):
        self.seen.append(inputs)
        return self.model(inputs)


class Careless:
    """A model that writes into its input and returns the same buffer at each call."""

    def __init__(self, model):
        self.model, self.buffer = model, None

    def __call__(self, inputs):
        outputs = self.model(inputs)
        if self.buffer is None:
            self.buffer = np.empty((4096, *outputs.shape[1:]))
        self.buffer[:] = np.nan
        self.buffer[: len(outputs)] = outputs
        inputs[:] = 77
        return self.buffer[: len(outputs)]
