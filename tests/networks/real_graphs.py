"""Xception and ResNet50 with random weights, in files like those that Keras publishes.

    python tests/networks/real_graphs.py FOLDER

With LAB_WEIGHTS=FOLDER the lab runs as it does for those who have the ImageNet weights.
"""

import sys
from pathlib import Path


def write_real_graphs(folder):
    """Write both files and return the Keras networks by name; the weights are always the same."""
    import h5py

    from lab.networks.loading import NETWORKS
    from lab.networks.tensorflow_setup import keras

    save = keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group
    networks = {}
    for name in ("xception", "resnet50"):
        keras.utils.set_random_seed(1)
        networks[name] = getattr(keras.applications, NETWORKS[name].name)(weights=None)
        with h5py.File(Path(folder, NETWORKS[name].file), "w") as file:
            save(file, networks[name])
    return networks


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    write_real_graphs(sys.argv[1])
