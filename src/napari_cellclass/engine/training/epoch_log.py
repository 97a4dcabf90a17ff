"""The metrics of every epoch as events for TensorBoard, where they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.params.train import TrainParams

_TAGS = {
    "train": {"loss": "epoch_loss", "accuracy": "epoch_accuracy"},
    "validation": {"val_loss": "epoch_loss", "val_accuracy": "epoch_accuracy"},
}
"""Which columns of a history are which tags of which folder: those of Keras's TensorBoard callback."""


class EpochLog:
    """Writes scalars to ``LOGDIR/NAME/train`` and ``LOGDIR/NAME/validation``, as Keras's TensorBoard callback does.

    That callback belongs to ``fit``, and ``tf.summary.scalar`` to the package tensorboard; TensorFlow's own
    writer of events needs neither.

    Parameters
    ----------
    params
        ``logdir`` says where, None for nowhere; the name is that of the model.
    """

    def __init__(self, params: TrainParams) -> None:
        self._folder = None if params.logdir is None else params.logdir / params.out.stem
        self._writers: dict[str, Any] = {}

    def write(self, epoch: int, row: Mapping[str, float]) -> None:
        """Write the metrics of an epoch, counted from 1.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        if self._folder is None:
            return
        import tensorflow as tf

        try:
            for part, tags in _TAGS.items():
                with self._writer(part).as_default():
                    for column, tag in tags.items():
                        if column in row:
                            tf.summary.write(tag, tf.constant(row[column], tf.float32), epoch, _scalar_metadata())
            for writer in self._writers.values():
                writer.flush()
        except (tf.errors.OpError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OutputError(
                f"--logdir {self._folder}: cannot be written ({reason}); choose another folder"
            ) from error

    def _writer(self, part: str) -> Any:
        import tensorflow as tf

        assert isinstance(self._folder, Path)
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
        return self._writers[part]


def _scalar_metadata() -> Any:
    """Say that a value is a scalar, as TensorBoard's own ``scalar`` does."""
    import tensorflow as tf

    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    return tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class=1)  # DATA_CLASS_SCALAR
