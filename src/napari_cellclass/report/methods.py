"""The methods section of a paper, written from the numbers that a model and its evaluation hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.teacher_record import TeacherRecord
from napari_cellclass.core.models.texture_decision import TextureHead

_AUGMENT = {
    "none": "Training tiles were not augmented.",
    "flips": "Training tiles were flipped and rotated by multiples of 90 degrees at random.",
    "full": "Training tiles were flipped, rotated by multiples of 90 degrees, zoomed, changed in gamma, blurred or "
    "sharpened, and given noise, all at random.",
}
_STANDARDISE = {
    "tile": "The network standardises every tile to the same mean and standard deviation per channel.",
    "none": "Tiles were not standardised.",
}


def methods_text(bundle: ModelBundle, sets: Sequence[EvaluatedSet]) -> str:
    """Write the methods of a model and its test sets as Markdown.

    Parameters
    ----------
    bundle
        The model; its manifest gives every number about training.
    sets
        The evaluated test sets; their reports give the rest.
    """
    parts = [
        ("Network and training", " ".join([*_network(bundle), *_data(bundle), *_training(bundle)])),
        ("Evaluation", "\n\n".join([" ".join(_evaluation(one)) for one in sets] + [_statistics(sets)])),
        ("Software and identity", "\n".join(_identity(bundle, sets))),
    ]
    return "# Methods\n\n" + "\n\n".join(f"## {title}\n\n{text}" for title, text in parts if text) + "\n"


def _network(bundle: ModelBundle) -> Iterator[str]:
    m = bundle.manifest
    height, width = m.tile_px
    size = f"{width} x {height} px"
    if m.pixel_size_um is not None:
        size += f" ({width * m.pixel_size_um[1]:.4g} x {height * m.pixel_size_um[0]:.4g} µm)"
    depth = f" of {m.data['dtype']}" if "dtype" in m.data else ""
    kind = "A convolutional network" if "backbone" not in m.training else "Linear models on features of tiles"
    yield (
        f"{kind} (`{m.network}`, {m.parameters:,} parameters) assigned tiles of {size} with "
        f"{counted(m.preprocess.channels, 'channel')}{depth} to {len(bundle.scheme)} classes "
        f"({', '.join(bundle.scheme.names)}). Its input was {m.preprocess.input_px[1]} x {m.preprocess.input_px[0]} "
        f"px, with {m.preprocess.describe()}."
    )
    yield _STANDARDISE.get(m.training.get("standardise", ""), "")
    if "backbone" in m.training:
        own = (m.training.get("features") or {}).get("backbone_scaling") is not None
        means = "the outputs" if own else "the spatial means of the first five stages"
        yield (
            f"The features were {means} of a pretrained network, which was not "
            f"trained further ({m.training['backbone']}), and texture features; on each of the two sets a "
            "class-balanced ridge regression was fitted, with the penalty and the sharpness of its probabilities "
            "that suited left-out groups best, and the probabilities were averaged."
        )


def _data(bundle: ModelBundle) -> Iterator[str]:
    data, training = bundle.manifest.data, bundle.manifest.training
    if not {"n_train", "n_validation"} <= set(data):
        return
    files = f" of {counted(len(data['images']), 'image file')}" if data.get("images") else ""
    trained = f"It was trained on {counted(data['n_train'], 'tile')}"
    head = HeadRecord.of(training)
    if data.get("n_held_out_in_turn") and head is not None:
        yield (
            f"{trained}{files}, and validated on {data['n_held_out_in_turn']:,} of them by fits that did not see them, "
            f"in {head.held_out}."
        )
    else:
        yield f"{trained} and validated on {counted(data['n_validation'], 'other tile')}{files}."
    splits = {"train": "training", "validation": "validation"}
    found = [row for row in data.get("counts", ()) if row["split"] in splits]
    if found:
        rows = [
            f"{row['class_name']}: {counted(row['tiles'], splits[row['split']] + ' tile')} of "
            f"{counted(row['groups'], 'group')}"
            for row in found
        ]
        yield f"({'; '.join(rows)}.)"
    if data.get("split_rule"):
        pattern = training.get("group_by")
        named = f" Groups were named by the pattern `{pattern}` on file names." if pattern else ""
        yield f"Split: {data['split_rule']}.{named}"
    if data.get("nonfinite_tiles"):
        yield f"{counted(data['nonfinite_tiles'], 'tile')} with NaN or infinite pixels were excluded."


def _training(bundle: ModelBundle) -> Iterator[str]:
    t = bundle.manifest.training
    head = HeadRecord.of(t)
    if head is not None and head.network is None:
        yield from _calibrated(bundle)
        return
    if head is not None and head.network is not None:
        yield f"Beside it the compact network was trained: {head.network.describe()}."
    yield _AUGMENT.get(t.get("augment", ""), "")
    if t.get("rotate"):
        low, _, high = t["rotate"].partition(":")
        yield f"They were also rotated by {low} to {high} degrees."
    if t.get("initial"):
        yield "Training started from the weights of an earlier model."
    yield _taught(TeacherRecord.of(t))
    if {"epochs", "optimizer", "learning_rate", "batch_size"} <= set(t):
        # The program makes this optimizer with that schedule only.
        schedule = ", with warm-up and cosine decay" if t["optimizer"] == "AdamW" else ""
        epochs = t.get("epochs_trained", t["epochs"])
        yield (
            f"Training took {epochs} epochs of steps of {counted(t['batch_size'], 'tile')} "
            f"with {t['optimizer']} (learning rate {t['learning_rate']:g}{schedule}) on the "
            f"{'weighted ' if t.get('class_weights') else ''}categorical cross-entropy"
            f"{', so that all classes have equal weight' if t.get('class_weights') else ''}; the weights of epoch "
            f"{t.get('epoch_kept', t['epochs'])} were kept."
        )
    yield _texture(TextureHead.of(t))
    if t.get("members"):
        seeds = ", ".join(str(one["seed"]) for one in t["members"])
        yield f"The probabilities of {len(t['members'])} trainings, from the seeds {seeds}, were averaged."
    elif "seed" in t:
        yield f"The seed was {t['seed']}."
    yield from _calibrated(bundle)
    if t.get("views", 1) > 1:
        yield f"Probabilities are the mean over {t['views']} flipped and rotated views of a tile."


def _calibrated(bundle: ModelBundle) -> Iterator[str]:
    if bundle.manifest.calibration is not None:
        yield f"Probabilities were calibrated by temperature scaling: {bundle.manifest.calibration.describe()}."


def _taught(record: TeacherRecord | None) -> str:
    if record is None:
        return ""
    return (
        f"Instead of the labels the network learned the probabilities that a model ({record.network}, "
        f"{record.model_id}) gave to these tiles and to {counted(record.unlabelled, 'unlabelled tile')} of "
        f"{counted(record.images, 'image')} (knowledge distillation; Hinton, Vinyals and Dean 2015)."
    )


def _texture(head: TextureHead | None) -> str:
    if head is None or not head.joined:
        return ""
    return (
        "Its probabilities were pooled log-linearly with those of a logistic regression on texture features of the "
        f"training tiles (weights {head.weight:g} and 1), as selected on {counted(head.tiles, 'validation tile')}."
    )


def _evaluation(one: EvaluatedSet) -> Iterator[str]:
    report, data = one.report, one.evaluation.data
    yield (
        f"On the test set *{one.name}* ({counted(report.n, 'tile')} of {counted(report.groups, 'group')}, "
        f"{counted(len(data.paths), 'image file')}) the accuracy was {report.accuracy}, the balanced accuracy "
        f"{report.balanced_accuracy}" + (f", and Cohen's kappa {report.kappa}." if report.kappa is not None else ".")
    )
    rows = [
        f"{row['name']} {figures}"
        for row in report.per_class
        if (
            figures := ", ".join(
                f"{name} {row[name]:.3f}" for name in ("recall", "precision", "f1") if row[name] is not None
            )
        )
    ]
    yield f"By class: {'; '.join(rows)}."
    yield f"The expected calibration error was {report.ece:.3f}."
    if one.evaluation.precision == "int8":
        yield "The network was run with int8 quantisation (post-training, by NNCF)."
    if data.skipped:
        yield f"{counted(len(data.skipped), 'file')} could not be used and were excluded."
    alarms = [alarm.text for alarm in one.alarms if alarm.severity == "warning"]
    if alarms:
        yield f"The program warned: {'; '.join(alarms)}."


def _statistics(sets: Sequence[EvaluatedSet]) -> str:
    ways = "; ".join(dict.fromkeys(one.report.interval for one in sets))
    return (
        f"Intervals are 95 % confidence intervals ({ways}). Balanced accuracy is the mean recall over the classes that "
        f"occur; the expected calibration error is over {len(sets[0].report.reliability)} bins of equal width "
        "(Guo et al., ICML 2017); Wilson: JASA 22:209, 1927."
    )


def _identity(bundle: ModelBundle, sets: Sequence[EvaluatedSet]) -> Iterator[str]:
    m = bundle.manifest
    used = ", ".join(f"{name} {version}" for name, version in m.versions.items() if name != "machine")
    where = f" on {m.versions['machine']}" if "machine" in m.versions else ""
    yield f"- {m.program}, model made {m.created}{where}" + (f", with {used}" if used else "")
    yield f"- model id `{bundle.model_id}`"
    yield from (f"- `{name}`: SHA-256 `{digest}`" for name, digest in _networks(m.files))
    if "hash" in m.data:
        yield f"- training and validation tiles: hash `{m.data['hash']}`"
    yield from (f"- test set {one.name}: hash `{one.evaluation.data.data_hash}`" for one in sets)


def _networks(files: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, digest) for name, digest in files.items() if name.startswith("model.")]
