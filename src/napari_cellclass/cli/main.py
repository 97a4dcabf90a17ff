"""The command line: ``napari-cellclass VERB``; one line per error, exit code 0, 1 or 2."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import sys
import threading
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import napari_cellclass
from napari_cellclass.core.common.errors import CancelledError, CellClassError, ParamsError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.prepare import CheckParams, SliceParams
from napari_cellclass.core.params.verbs import (
    ClassifyParams,
    DemoParams,
    EvaluateParams,
    InfoParams,
    ReportingParams,
    TrainParams,
)

_SPAN = re.compile(r"-[\d.]+(e[+-]?\d+)?:.*", re.IGNORECASE)
OK, SOME_FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class Reporter:
    """Tell a user, or a program, where a long verb is.

    Parameters
    ----------
    params
        Their ``progress`` and ``quiet`` choose bar, JSON lines or nothing.
    """

    def __init__(self, params: Params) -> None:
        self.quiet = isinstance(params, ReportingParams) and params.quiet
        self.style = params.progress if isinstance(params, ReportingParams) and not self.quiet else "none"
        self.talkative = self.style != "jsonl" and not self.quiet
        self._bar: Any = None
        self._phase = ""
        self.task = Task(self.report)

    def report(self, update: Progress) -> None:
        """Show one report."""
        if self.style == "jsonl":
            self.event("progress", phase=update.phase, done=update.done, total=update.total, metrics=update.metrics)
        elif self.style == "bar" and update.phase != "epoch":
            self._draw(update)

    def _draw(self, update: Progress) -> None:
        from tqdm import tqdm

        if self._bar is None or self._phase != update.phase or update.done < self._bar.n:
            self.close()
            self._bar = tqdm(total=update.total or None, desc=update.phase, file=sys.stderr, leave=True, disable=None)
            self._phase = update.phase
        shown = {k: f"{v:.3g}" for k, v in update.metrics.items() if k not in ("seconds_left", "tiles_per_s")}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(update.done - self._bar.n)

    def close(self) -> None:
        """End the bar, so that text can follow."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a sentence for people."""
        self.close()
        if self.talkative:
            print(text)

    def warn(self, text: str) -> None:
        """Print a warning for people, on standard error."""
        if not self.quiet:
            self.close()
            print(f"napari-cellclass: warning: {text}", file=sys.stderr)

    def fail(self, text: str) -> None:
        """Print what went wrong with a part of the work, on standard error; told even when quiet."""
        self.close()
        print(f"napari-cellclass: {text}", file=sys.stderr)

    def event(self, event: str, **content: Any) -> None:
        """Print one JSON line for programs, in that mode only."""
        if self.style == "jsonl":
            print(json.dumps({"event": event, **content}, default=str), flush=True)


class _Parser(argparse.ArgumentParser):
    """Speaks of a usage error in one line, and takes a range such as ``-5:5`` for a value, not for a flag."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Write ``--rotate -5:5`` as ``--rotate=-5:5``."""
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if words and _SPAN.fullmatch(word) and re.fullmatch(r"--[a-z-]+", words[-1]):
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        raise ParamsError(f"{message}; see {self.prog} --help")


def _add_flags(parser: argparse.ArgumentParser, params: type[Params]) -> None:
    """Make flags of a model's fields.

    The values stay text: the model itself checks and converts them, so that form and flags agree.
    """
    for name, field in params.model_fields.items():
        many, choices, flag = _shape(field.annotation)
        text = (field.description or "").replace("%", "%%")
        default = field.get_default(call_default_factory=True)
        if "positional" in field.metadata:
            parser.add_argument(name, metavar=name.rstrip("s").upper(), nargs="+" if many else None, help=text)
            continue
        if default not in (None, [], False) and not field.is_required():
            text += f" (default: {default})"
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
        if flag:
            options["action"] = "store_true" if default is False else argparse.BooleanOptionalAction
        else:
            options["metavar"] = "|".join(choices) if choices else name.split("_")[-1].upper()
            options["action"] = "append" if many else "store"
        parser.add_argument("--" + name.replace("_", "-"), required=field.is_required(), **options)


def _shape(annotation: Any) -> tuple[bool, tuple[str, ...], bool]:
    """Tell whether an annotation is a list, which words it allows, and whether it is a switch."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    if typing.get_origin(annotation) is Literal:
        return False, tuple(map(str, typing.get_args(annotation))), False
    return typing.get_origin(annotation) is list, (), annotation is bool


def _slice(params: SliceParams, reporter: Reporter) -> int:
    if params.rename or params.undo:
        return _rename(params, reporter)
    from napari_cellclass.runs.prepare.slicing import slice_images

    report = slice_images(params, reporter.task)
    reporter.close()
    for outcome in report.failed:
        print(f"napari-cellclass: {outcome.error}", file=sys.stderr)
    reporter.say(report.summary())
    reporter.event("done", out=report.out, images=len(report.outcomes), failed=len(report.failed))
    if report.failed:
        return SOME_FAILED if len(report.failed) < len(report.outcomes) else BAD_INPUT
    return OK


def _rename(params: SliceParams, reporter: Reporter) -> int:
    from napari_cellclass.core.datasets.renaming import rename_images, undo_renaming

    folder = params.images[0]
    if params.undo:
        done = undo_renaming(folder, reporter.task)
        reporter.say(f"{len(done.moves)} files of {folder} have the names back that they had before")
    else:
        done = rename_images(folder, params.prefix, reporter.task)
        text = "; slice FOLDER --undo gives the old names back" if done.moves else ""
        reporter.say(f"{len(done.moves)} files of {folder} renamed{text}")
    reporter.event("done", renamed=len(done.moves))
    return OK


def _train(params: TrainParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.train import run_train

    models = run_train(params, reporter.task, reporter.say)
    reporter.event("done", models=list(map(str, models)))
    return OK


def _check(params: CheckParams, reporter: Reporter) -> int:
    from napari_cellclass.core.common.files import check_writable, write_json
    from napari_cellclass.core.quality.dataset_check import check_folder
    from napari_cellclass.runs.common.dataset_opening import grid_maker, image_reader

    grid = grid_maker(params)
    if params.out is not None:
        check_writable(params.out)
    report = check_folder(params.data, grid, params.group_by, image_reader(params), reporter.task)
    for severity, title in (("error", "Errors"), ("warning", "Warnings"), ("note", "Notes")):
        texts = [finding.text for finding in report.findings if finding.severity == severity]
        if texts:
            reporter.say(f"{title}:" + "".join(f"\n  - {text}" for text in texts))
    if report.data is None:
        reporter.say(f"{params.data} cannot be trained on as it is")
    else:
        reporter.say(
            f"{params.data} can be trained on: {len(report.data):,} tiles of {len(report.data.paths):,} images"
        )
    if params.out is not None:
        write_json(params.out, report.to_json())
        reporter.say(f"wrote {params.out}")
    reporter.event("done", **report.to_json())
    return OK if report.trainable else BAD_INPUT


def _classify(params: ClassifyParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.classify import run_classify

    report = run_classify(params, reporter.task, reporter.say, reporter.warn, reporter.fail)
    failed, images = len(report.failed), len(report.outcomes)
    reporter.event("done", out=params.out, images=images, failed=failed, kept=report.reused)
    if failed:
        return SOME_FAILED if failed < images else BAD_INPUT
    return OK


def _evaluate(params: EvaluateParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.evaluate import run_evaluate

    sets = run_evaluate(params, reporter.task, reporter.say)
    accuracy = {one.name: one.evaluation.to_json()["balanced_accuracy"] for one in sets}
    reporter.event("done", out=params.out, balanced_accuracy=accuracy[sets[0].name], test_sets=accuracy)
    return OK


def _info(params: InfoParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.info import describe
    from napari_cellclass.core.models.bundle import open_bundle

    bundle = open_bundle(params.model)
    print(bundle.manifest.model_dump_json(indent=2) if params.json_lines else describe(bundle))
    if params.verify:
        from napari_cellclass.runs.common.engine_access import verify_model

        print(verify_model(bundle))
    return OK


def _experiment(params: ExperimentParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.experiment import experiment
    from napari_cellclass.engine.common.parent_process import listen

    listen()
    result = experiment(params, reporter.task, reporter.say)
    reporter.event("done", out=params.out, verdict=result.verdict.word)
    return OK


def _demo(params: DemoParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.demo import run_demo

    return run_demo(params, reporter.task, reporter.say)


VERBS: dict[str, tuple[type[Params], Callable[[Any, Reporter], int]]] = {
    "demo": (DemoParams, _demo),
    "slice": (SliceParams, _slice),
    "check": (CheckParams, _check),
    "train": (TrainParams, _train),
    "experiment": (ExperimentParams, _experiment),
    "evaluate": (EvaluateParams, _evaluate),
    "classify": (ClassifyParams, _classify),
    "info": (InfoParams, _info),
}


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs from their parameters."""
    parser = _Parser(prog="napari-cellclass", description=napari_cellclass.__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"napari-cellclass {napari_cellclass.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for verb, (params, _) in VERBS.items():
        text = (params.__doc__ or "").strip()
        _add_flags(verbs.add_parser(verb, help=text, description=text, allow_abbrev=False), params)
    return parser


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one for every end
    """Run a verb.

    Parameters
    ----------
    argv
        Words after the program's name; those of the process when None.

    Returns
    -------
    int
        0 done, 1 some images failed, 2 usage or bad input, 130 interrupted, 141 nobody reads the output.
    """
    reporter: Reporter | None = None
    _prepare_streams()
    try:
        values = vars(build_parser().parse_args(argv))
        model, run = VERBS[values.pop("verb")]
        params = model.checked(**values)
        reporter = Reporter(params)
        code = run(params, reporter)
        sys.stdout.flush()  # here, where it is answered, and not while the interpreter ends
        return code
    except (KeyboardInterrupt, CancelledError):
        return _stopped(reporter, "cancelled; what was finished is kept", INTERRUPTED)
    except CellClassError as error:
        return _stopped(reporter, str(error), BAD_INPUT)
    except BrokenPipeError:  # whoever read our output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:  # of a path or disk that nobody expected there: hardly our defect
        if not error.filename or not error.strerror:
            return _stopped(reporter, _unexpected(error), BAD_INPUT)
        return _stopped(
            reporter, f"cannot use {str(error.filename)[:300]}: {error.strerror}; check the path", BAD_INPUT
        )
    except Exception as error:  # noqa: BLE001 - a user gets a line and a file, never a traceback
        return _stopped(reporter, _unexpected(error), BAD_INPUT)


def _prepare_streams() -> None:
    """Print file names that the terminal cannot show as escapes, and answer SIGTERM as Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _unexpected(error: Exception) -> str:
    from napari_cellclass.core.common.files import write_crash_log

    return (
        f"unexpected {type(error).__name__}: {error}; this is a defect of napari-cellclass, "
        f"please report it with {write_crash_log(error)}"
    )


def _stopped(reporter: Reporter | None, message: str, code: int) -> int:
    if reporter is not None:
        reporter.close()
        reporter.event("error", message=message, exit_code=code)
    print(f"napari-cellclass: {message}", file=sys.stderr)
    return code
