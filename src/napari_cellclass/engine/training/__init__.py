"""One training: tiles, augmentation, loop, texture features, quantisation, export, bundle."""
