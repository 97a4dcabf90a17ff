"""Read the events of a folder as TensorBoard does, and print them: part, tag, epoch and value."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorflow as tf

found = []
for part in sorted(Path(sys.argv[1]).iterdir()):
    for file in part.iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                kind = value.metadata.plugin_data.plugin_name
                found.append([part.name, value.tag, event.step, float(tf.make_ndarray(value.tensor)), kind])
print(json.dumps(found))
