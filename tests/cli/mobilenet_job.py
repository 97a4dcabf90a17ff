"""Writes weights as Keras offers them of its MobileNetV2, made up but well scaled: ``mobilenet_job.py FILE.h5``."""

from __future__ import annotations

import sys

import numpy as np

from napari_cellclass.engine.common.environment import import_keras

if __name__ == "__main__":
    keras = import_keras()
    import h5py
    from keras.src.legacy.saving import legacy_h5_format  # what the offered files were written with

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(input_shape=(96, 96, 3), include_top=False, weights=None)
    for layer in model.layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0  # so that one batch settles them
    model(np.random.default_rng(0).normal(0, 0.5, (16, 96, 96, 3)).astype(np.float32), training=True)
    with h5py.File(sys.argv[1], "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
