"""Models for tests that count their calls, record them, or must not be called."""


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
    """A model that keeps the batches that it was given."""

    def __init__(self, model):
        self.model, self.seen = model, []

    def __call__(self, inputs):
        self.seen.append(inputs)
        return self.model(inputs)
