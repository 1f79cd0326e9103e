"""A finished run logged to an MLflow server: parameters, figures, a page, the model; no image.

Only what is listed here leaves the run's folder. Predictions, the report with its pictures, the
command that was typed and what the data were called stay, since they name images and patients.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medgraft.errors import MedgraftError, optional
from medgraft.files import json_value, without_credentials
from medgraft.report.pages.run import render_run
from medgraft.report.text import formatting
from medgraft.results.runs import Run
from medgraft.runs.read import open_run
from medgraft.types import Estimate

EXPERIMENT = "medgraft"  # where MLFLOW_EXPERIMENT_NAME names no other
SETTINGS = {  # instead of MLflow's own, which wait for minutes and print; a user's own stay
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
WITHHELD = ("path", "data", "command", "reason", "barred", "figures", "options")
LONGEST = 500  # characters of a parameter that every server takes
BATCH = 100  # parameters a request


class TrackingError(MedgraftError):
    """An MLflow server does not answer, or refuses what is sent."""


def check_tracking(uri: str) -> None:
    """Ask a server whether it is there, in seconds.

    Raises
    ------
    TrackingError
        It is not, or it does not speak MLflow.
    MissingExtraError
        The extra `mlflow` is not installed.
    """
    with _client(uri) as client:
        client.search_experiments(max_results=1)


def log_run(folder: Path, uri: str) -> str:
    """Log the finished study or scenario in a folder; give the id of the MLflow run.

    The experiment is `medgraft`, or what MLFLOW_EXPERIMENT_NAME names.

    Raises
    ------
    TrackingError
        The server does not answer, or the run is not finished.
    RunError
        There is no run that can be read.
    MissingExtraError
        The extra `mlflow` is not installed.
    """
    run = open_run(folder)
    if run.state != "finished" or run.kind not in ("study", "scenario"):
        raise TrackingError(
            f"{folder} is {run.kind} {run.state}; only finished studies and scenarios are logged"
        )
    with _client(uri) as client:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        begun = client.create_run(experiment, run_name=folder.resolve().name, tags=_tags(run))
        mine: str = begun.info.run_id
        try:
            _log(client, mine, run)
        except BaseException:
            with suppress(Exception):
                client.set_terminated(mine, "FAILED")
            raise
        client.set_terminated(mine)
        return mine


@contextmanager
def _client(uri: str) -> Iterator[Any]:
    """A client of the server; what it raises is a TrackingError."""
    # MLflow reports its use to its makers unless told not to; nothing calls out unasked here.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    before = {name: os.environ.get(name) for name in SETTINGS}
    for name, setting in SETTINGS.items():
        os.environ.setdefault(name, setting)
    try:
        mlflow = optional("mlflow", "mlflow")
        try:
            yield mlflow.MlflowClient(uri)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            reason = without_credentials(formatting.shorten(str(error), 200))
            raise TrackingError(
                f"MLflow at {without_credentials(uri)} does not answer as it should: {reason}; see "
                "that the server runs and the address is right"
            ) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _log(client: Any, mine: str, run: Run) -> None:
    """Everything of a run that may leave its folder."""
    entities = optional("mlflow.entities", "mlflow")
    params = [entities.Param(name, value) for name, value in _params(run).items()]
    for start in range(0, len(params), BATCH):
        client.log_batch(mine, params=params[start : start + BATCH])
    now = int(1000 * run.when)
    metrics = [entities.Metric(name, value, now, 0) for name, value in _metrics(run).items()]
    client.log_batch(mine, metrics=metrics)
    with tempfile.TemporaryDirectory() as temporary:
        page, facts = Path(temporary) / "report.html", Path(temporary) / "run.json"
        page.write_text(render_run(run), encoding="utf-8")
        content = {name: one for name, one in json_value(run).items() if name not in WITHHELD}
        facts.write_text(json.dumps(content, indent=1), encoding="utf-8")
        for file in (page, facts):
            client.log_artifact(mine, str(file))
    client.log_artifacts(mine, str(Path(run.path) / "model"), "model")


def _params(run: Run) -> dict[str, str]:
    """What was asked, but for what names files; an empty one is one not set."""
    asked = {
        name: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for name, value in run.options.items()
        if not name.startswith("reading.")
    }
    facts = {
        "recommended": run.scenario,
        "data_fingerprint": run.fingerprint,
        "images": str(run.images),
        "patients": str(run.patients),
        "classes": json.dumps(list(run.classes)),
        "positive": run.positive or "",
    }
    found = {**asked, **facts}
    return {name: formatting.shorten(value, LONGEST) for name, value in found.items() if value}


def _metrics(run: Run) -> dict[str, float]:
    """Every figure of what is recommended, each with the ends of its interval."""
    named: dict[str, Estimate] = {
        f"{part}/{metric}": one
        for part, rows in run.figures.items()
        for metric, one in rows.items()
    }
    if run.corrected is not None:
        named[f"corrected/{run.metric}"] = run.corrected
    found = {
        f"{name}{end}": float(value)
        for name, one in named.items()
        for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
    found["seconds"] = run.seconds
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _tags(run: Run) -> Mapping[str, str]:
    tags = {
        "medgraft.kind": run.kind,
        "medgraft.version": run.versions.get("medgraft", ""),
        "medgraft.audit": run.verdict or "not run",
        "medgraft.metric": run.metric,
    }
    return {name: value for name, value in tags.items() if value}
