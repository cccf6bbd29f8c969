"""The frame around every job: arguments, settings, session, what the run read and wrote, and exit codes.

Only files in jobs/ use it. `Job` is their window on tables and models; the stages never see it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.arguments import argument_parser, job_name, settle_interval
from salience.errors import InputError, SalienceError, one_line
from salience.models.checkpoints import checkpoints
from salience.models.store import LoadedModel, ModelStore, blas
from salience.progress import JsonProgress, Progress, Step
from salience.runs import Run, recorded_when_killed
from salience.session import build_session, log_as, logs_json
from salience.settings import load_settings
from salience.tables import publishing, releases, silver
from salience.tables.audits import Audit, record, require_passed
from salience.tables.contract import Table
from salience.tables.outages import outages_told
from salience.tables.partitions import PartitionValue
from salience.tables.staged import Commit

UNEXPECTED = 1


@dataclass(eq=False)
class Job(Run):
    """One run of one job, and its window on tables and models."""

    def __post_init__(self) -> None:
        """Open the warehouse and the model store under this run's id."""
        super().__post_init__()
        self.models = ModelStore(self.spark, f"{self.warehouse.root}/models", self.run_id)

    def days_before(self, argument: str) -> list[date]:
        """Return the days that an argument named, in order, each once.

        Raises:
            InputError: one of them is not before the as-of day.
        """
        named = sorted(set(getattr(self.arguments, argument, ())))
        if named and named[-1] >= self.as_of:
            raise InputError(f"{named[-1]} is not before the interval's last day, {self.as_of}: name earlier days")
        return named

    @property
    def release(self) -> str:
        """The release that this run's snapshots belong to; opened on first use where the caller named none."""
        if self._release is None:
            attempts = self.settings.release.publish_attempts
            self._release = publishing.open_release(self.warehouse, self.as_of, attempts)
            self.tell(f"opened release {self._release}")
        return self._release

    def read(self, table: Table) -> DataFrame:
        """Return a whole day table or dimension as it is now, whoever writes to it later, and note its version."""
        self.warehouse.require_there(table)
        version = self.inputs[str(table)] = self.warehouse.version(table)
        return self.warehouse.read(table, version)

    def read_if_there(self, table: Table) -> DataFrame | None:
        """Return what `read` does; None where nothing was ever written to the table."""
        return self.read(table) if self.warehouse.exists(table) else None

    def read_past(self) -> DataFrame:
        """Return silver.interactions up to the as-of day.

        Raises:
            InputError: there are none.
        """
        past = self.read(silver.INTERACTIONS).where(F.col("event_date") <= F.lit(self.as_of))
        if past.isEmpty():
            raise self.no_past()
        return past

    def no_past(self) -> InputError:
        """Return the error of a run whose as-of day lies before all interactions."""
        return InputError(f"there are no interactions up to {self.as_of}: run jobs/clean_interactions.py for that time")

    def read_snapshot(self, table: Table, own: bool = False) -> DataFrame:
        """Return a snapshot as this run's release sees it, without its release_id.

        Args:
            table: what to read.
            own: whether an earlier release's rows would not do.
        """
        release_id = releases.resolve(self.warehouse, table, self.release, own)
        return self.warehouse.read(table).where(F.col("release_id") == release_id).drop("release_id")

    def write_snapshot(self, table: Table, frame: DataFrame) -> None:
        """Write a snapshot under this run's release, unless somebody has published that meanwhile."""
        stamped = frame.withColumn("release_id", F.lit(self.release))
        releases.require_unpublished(self.warehouse, self.release)
        self.note(table, self.warehouse.replace(table, stamped, {"release_id": [self.release]}))

    def write_partitions(
        self,
        table: Table,
        frame: DataFrame,
        where: Mapping[str, Sequence[PartitionValue]],
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace the partitions of a day table or dimension that `where` names."""
        commit = self.warehouse.replace(table, frame, where, note)
        self.note(table, commit)
        return commit

    def save_model(
        self,
        name: str,
        frames: Mapping[str, DataFrame],
        manifest: Mapping[str, Any],
        pipelines: Mapping[str, PipelineModel] | None = None,
    ) -> None:
        """Save a model, `<kind>/<platform>`, for this run's release."""
        self.saved_models[name] = self.models.save(self.release, name, frames, manifest, pipelines)
        self.say(f"saved {name}; linear algebra by {blas(self.spark)}")

    def load_model(self, name: str, made_by: str) -> releases.SavedModel:
        """Return where the model lies that this run's release uses."""
        return releases.resolve_model(self.warehouse, name, self.release, made_by)

    def platform_models(self, kind: str, made_by: str) -> dict[str, LoadedModel]:
        """Return each platform's model of a kind; a platform without one is told."""
        found = {}
        for platform in self.settings.platforms:
            try:
                saved = self.load_model(f"{kind}/{platform}", made_by)
            except InputError as error:
                self.tell(f"{platform} has no {kind} model: {error}")
            else:
                found[platform] = self.models.load(saved)
        return found

    def earlier_models(self, kind: str, made_by: str) -> dict[str, LoadedModel]:
        """Return each platform's model that was in force on the day before the as-of day, else the release's own."""
        before = releases.newest(self.warehouse, (self.as_of - timedelta(days=1)).isoformat())
        saved = {} if before is None else before.models
        names = {platform: f"{kind}/{platform}" for platform in self.settings.platforms}
        there = {p: saved[name] for p, name in names.items() if name in saved and self.models.is_there(saved[name])}
        return self.platform_models(kind, made_by) | {p: self.models.load(of) for p, of in there.items()}

    def models_of(self, kind: str) -> Iterator[tuple[str, LoadedModel]]:
        """Yield platform and model of all kinds that begin like this and that this run's release may use."""
        usable = releases.usable_models(self.warehouse, self.release)
        for name, saved in sorted(usable.items()):
            of, platform = name.rsplit("/", 1)
            if of.startswith(kind) and platform in self.settings.platforms and self.models.is_there(saved):
                yield platform, self.models.load(saved)

    def earlier_manifest(self, name: str) -> Mapping[str, Any] | None:
        """Return the manifest of the model that was in force on the day before the as-of day; None where none was."""
        before = releases.newest(self.warehouse, (self.as_of - timedelta(days=1)).isoformat())
        saved = before.models.get(name) if before else None
        return self.models.load(saved).manifest if saved and self.models.is_intact(saved) else None

    @contextmanager
    def checkpoints(self) -> Iterator[None]:
        """Let what is fitted in the block write checkpoints, see there; what was fitted has to be saved within."""
        with checkpoints(self.spark, f"{self.warehouse.root}/checkpoints", self.run_id):
            yield

    def check(self, checked: Sequence[Audit], *, gate: bool) -> None:
        """Record audits and tell what failed.

        Raises:
            AuditError: with `gate`, one failed.
        """
        record(self.warehouse, checked)
        for audit in checked:
            if not audit.passed:
                self.tell(f"audit failed: {audit}")
        if gate:
            require_passed(checked)

    def step(self, main: Callable[["Job"], None], **arguments: Any) -> "Job":
        """Run another job's `main` in this session as a run of its own, and return that run."""
        merged = argparse.Namespace(**{**vars(self.arguments), **arguments})
        child = Job(job_name(main), merged, self.conf_dir, self.settings, self.spark, self.progress, merged.release)
        with child.recorded():
            main(child)
        return child


def run_job(
    main: Callable[[Job], None],
    argv: Sequence[str] | None = None,
    *,
    interval: bool = True,
    records: bool = True,
    publishes: bool = False,
    starts: bool = True,
    extra: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Run one job from the command line and return its exit code.

    0 for success; 2 for input or settings that cannot be used; 3 for a failed audit; 1 for the unexpected. A deliberate
    error prints one line; an unexpected one prints its traceback too.

    Args:
        main: the job; its module's docstring becomes the help text.
        argv: the arguments, sys.argv's by default.
        interval: whether the job needs `--date` or `--from`/`--to`; one that does not, but records, notes what it is
            given, and a release must be of that day.
        records: whether the run leaves a row in ops.runs; a job that only reads does not.
        publishes: whether the release that is asked for may be published already.
        starts: whether ops.runs can take a row before the job has done its work.
        extra: adds arguments of the job's own.
    """
    name = job_name(main)
    parser = argument_parser(main, interval or records)
    if extra:
        extra(parser)
    arguments = parser.parse_args(argv)
    step, progress = Step(name), Progress()
    try:
        if interval or records:
            settle_interval(arguments, is_needed=interval)
        conf_dir = find_conf_dir()
        settings = load_settings(conf_dir, arguments.env, os.environ, arguments.set)
        spark = build_session(f"salience {name}", conf_dir, arguments.env)
        progress = JsonProgress() if logs_json(spark) else progress
        job = Job(name, arguments, conf_dir, settings, spark, progress, arguments.release, publishes, starts)
        step = job.teller
        log_as(spark, job.run_id)
        with recorded_when_killed(step, progress), outages_told(), job.recorded() if records else nullcontext():
            main(job)
        return 0
    except SalienceError as error:
        progress.fail(step, str(error))
        return error.exit_code
    except Exception as error:
        progress.fail(step, f"unexpected: {one_line(error)}", error)
        return UNEXPECTED


def find_conf_dir() -> Path:
    """Return the folder of the settings: SALIENCE_CONF_DIR, else conf/ beside the jobs, else conf/ here."""
    named = os.environ.get("SALIENCE_CONF_DIR")
    if named:
        return Path(named).absolute()
    beside = Path(sys.argv[0]).resolve().parent.parent / "conf"
    return beside if (beside / "base.yaml").is_file() else Path("conf").absolute()
