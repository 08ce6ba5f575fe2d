"""Xception and ResNet50 with random weights, in files like those that Keras publishes.

    python tests/networks/real_graphs.py FOLDER

With LAB_WEIGHTS=FOLDER the lab runs as it does with the ImageNet weights.
"""

import sys
from pathlib import Path


def write_real_graphs(folder):
    """Write both files; the weights are the same each time."""
    import h5py

    from lab.networks.registry import NETWORKS
    from lab.networks.tensorflow_setup import keras

    save = keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group
    for network in (NETWORKS["xception"], NETWORKS["resnet50"]):
        keras.utils.set_random_seed(1)
        with h5py.File(Path(folder, network.file), "w") as file:
            save(file, getattr(keras.applications, network.name)(weights=None))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    write_real_graphs(sys.argv[1])
