"""The command line: ``napari-cellclass VERB``; one line per error, exit code 0, 1 or 2."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import napari_cellclass
from napari_cellclass.cli.exit_codes import BAD_INPUT, BROKEN_PIPE, INTERRUPTED, OK, SOME_FAILED
from napari_cellclass.cli.parser import VerbParser, add_flags, checked_params
from napari_cellclass.cli.project import add_model, is_project_name, opened_project, recorded_maps, show_project
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.errors import CancelledError, CellClassError
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.demo import DemoParams
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.explain import ExplainParams
from napari_cellclass.core.params.export import ExportParams
from napari_cellclass.core.params.features import FeaturesParams
from napari_cellclass.core.params.info import InfoParams
from napari_cellclass.core.params.prepare import CheckParams, SliceParams
from napari_cellclass.core.params.slides import SlidesParams
from napari_cellclass.core.params.train import TrainParams


def _slice(params: SliceParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.slice import run_slice

    return run_slice(params, reporter)


def _check(params: CheckParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.check import run_check

    return run_check(params, reporter)


def _train(params: TrainParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.train import run_train

    with opened_project(params.data, reporter) as project:
        models = run_train(params, reporter.task, reporter.say)
        if project is not None:
            add_model(project, models[0], reporter)
    reporter.event("done", models=list(map(str, models)))
    return OK


def _classify(params: ClassifyParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.classify import run_classify

    with opened_project(params.images[0], reporter) as project, recorded_maps(project, reporter):
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


def _slides(params: SlidesParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.slides import run_slides

    return run_slides(params, reporter)


def _features(params: FeaturesParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.features import run_features

    return run_features(params, reporter)


def _export(params: ExportParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.export import run_export

    return run_export(params, reporter)


def _explain(params: ExplainParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.explain import run_explain

    return run_explain(params, reporter)


def _info(params: InfoParams, reporter: Reporter) -> int:
    if is_project_name(str(params.model)):
        return show_project(params)
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
    from napari_cellclass.engine.common.parent_process import listen_to_parent

    listen_to_parent()
    result = experiment(params, reporter.task, reporter.say)
    reporter.event("done", out=params.out, verdict=result.verdict.word)
    return OK


def _demo(params: DemoParams, reporter: Reporter) -> int:
    from napari_cellclass.cli.demo import run_demo

    return run_demo(params, reporter.task, reporter.say)


_RUNS: dict[type[Params], Callable[[Any, Reporter], int]] = {
    DemoParams: _demo,
    SliceParams: _slice,
    CheckParams: _check,
    TrainParams: _train,
    ExperimentParams: _experiment,
    EvaluateParams: _evaluate,
    ClassifyParams: _classify,
    SlidesParams: _slides,
    FeaturesParams: _features,
    ExportParams: _export,
    ExplainParams: _explain,
    InfoParams: _info,
}
VERBS = {params.verb: (params, run) for params, run in _RUNS.items()}


def build_parser() -> argparse.ArgumentParser:
    """Create the parser of all verbs from their parameters."""
    parser = VerbParser(prog="napari-cellclass", description=napari_cellclass.__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"napari-cellclass {napari_cellclass.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=VerbParser)
    for verb, (params, _) in VERBS.items():
        text = (params.__doc__ or "").strip()
        add_flags(verbs.add_parser(verb, help=text, description=text, allow_abbrev=False), params)
    return parser


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one return per exit code
    """Run a verb.

    Parameters
    ----------
    argv
        Arguments after the program's name; those of the process when None.

    Returns
    -------
    int
        0 done, 1 some images failed, 2 usage or bad input, 130 interrupted, 141 output pipe closed.
    """
    reporter: Reporter | None = None
    _prepare_streams()
    try:
        values = vars(build_parser().parse_args(argv))
        model, run = VERBS[values.pop("verb")]
        params = checked_params(model, values)
        reporter = Reporter(params)
        code = run(params, reporter)
        sys.stdout.flush()  # here, where an error is handled, and not while the interpreter ends
        return code
    except (KeyboardInterrupt, CancelledError):
        return _report_error(reporter, "cancelled; what was finished is kept", INTERRUPTED)
    except CellClassError as error:
        return _report_error(reporter, str(error), BAD_INPUT)
    except BrokenPipeError:  # the program that reads our output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:  # of an unexpected path or disk: hardly our defect
        if not error.filename or not error.strerror:
            return _report_error(reporter, _unexpected(error), BAD_INPUT)
        return _report_error(
            reporter, f"cannot use {str(error.filename)[:300]}: {error.strerror}; check the path", BAD_INPUT
        )
    except Exception as error:  # noqa: BLE001 - a user gets a line and a file, never a traceback
        return _report_error(reporter, _unexpected(error), BAD_INPUT)


def _prepare_streams() -> None:
    """Print file names that the terminal cannot show as escapes, and handle SIGTERM like Ctrl-C."""
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


def _report_error(reporter: Reporter | None, message: str, code: int) -> int:
    if reporter is not None:
        reporter.close()
        reporter.event("error", message=message, exit_code=code)
    print(f"napari-cellclass: {message}", file=sys.stderr)
    return code
