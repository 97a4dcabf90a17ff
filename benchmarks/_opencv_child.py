"""Predict tiles by OpenCV alone, in an environment of another version of it: ``_opencv_child.py MODEL TILES OUT``.

It needs numpy and OpenCV. TILES is an ``.npy`` of tiles (n, h, w, C); OUT gets the probabilities (n, K).
"""

import sys

import cv2
import numpy as np

net = cv2.dnn.readNetFromONNX(sys.argv[1])
found = []
for tile in np.load(sys.argv[2]):
    net.setInput(np.ascontiguousarray(tile.transpose(2, 0, 1)[None], np.float32), "tiles")
    found.append(net.forward().reshape(-1).copy())
np.save(sys.argv[3], np.array(found))
print(cv2.__version__)
