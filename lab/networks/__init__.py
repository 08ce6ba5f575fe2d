"""Networks to be explained: the lab's own, and models of one's own."""

from lab.networks.loading import add_arguments, load, load_from

__all__ = ["add_arguments", "load", "load_from"]
