"""The jobs as a person starts them: processes of spark-submit and of Python, with the project's own configuration."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F
from tests.logs import deliver, feed_event
from tests.processes import BIN, PROJECT, PYTHON, SPARK_SUBMIT, run

from salience.tables import activity, bronze, ops, silver
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

# Adaptive execution is on wherever nobody turns it off, as local.conf does: one way with it, one without.
WAYS = {
    "spark-submit": (*SPARK_SUBMIT, "--conf", "spark.sql.adaptive.enabled=true"),
    "python": PYTHON,
}
JOBS = ("clean_interactions", "measure_audience")
ROWS = (
    (bronze.EVENTS, 5),
    (silver.REJECTED_EVENTS, 1),
    (silver.EXCLUDED_EVENTS, 1),
    (silver.INTERACTIONS, 3),
    (activity.CONTENT_DAILY, 2),
    (activity.AUDIENCE_DAILY, 1),
)


@pytest.fixture
def wheel(tmp_path):
    """What `make package` builds, of a copy of the package that says another version."""
    copy = tmp_path / "copy"
    shutil.copytree(PROJECT / "lib" / "salience", copy / "lib" / "salience")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    module = copy / "lib" / "salience" / "__init__.py"
    module.write_text(module.read_text(encoding="utf-8").replace('__version__ = "', '__version__ = "wheel-'))
    # Without build isolation, which would fetch setuptools anew.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([BIN / "pip", "wheel", *options, "--wheel-dir", tmp_path / "dist", copy], check=True)
    (file,) = (tmp_path / "dist").glob("*.whl")
    return file


def told_by(way, job, *settings, options=()):
    """Run one job in a process of its own and return its exit code and all that it printed."""
    named = [word for setting in settings for word in ("--set", setting)]
    code, out, err = run(job, "--date", "2026-11-02", *named, way=(*WAYS[way], *options))
    return code, out + err


@pytest.mark.slow
@pytest.mark.trial
def test_spark_submit_of_the_wheel_with_adaptive_execution_and_python_end_in_the_same_tables(spark, wheel, tmp_path):
    rows = [
        feed_event(),
        feed_event(),
        feed_event(log_id="e2", act="show"),
        feed_event(log_id="e3", act="show", uid="u-bob", post_id="p2"),
        feed_event(log_id="e4", uid=None),
    ]
    deliver(tmp_path / "logs", "2026-11-02", rows)

    def all_jobs(way):
        settings = ("platforms=[feed]", f"logs={tmp_path / 'logs'}", f"warehouse={tmp_path / way}")
        options = ["--py-files", str(wheel)] if way == "spark-submit" else []
        return [told_by(way, job, *settings, options=options) for job in JOBS]

    # Side by side, for half of a job's time is spent on one core.
    with ThreadPoolExecutor(len(WAYS)) as pool:
        for outcomes in pool.map(all_jobs, WAYS):
            for code, told in outcomes:
                assert code == 0, told[-4000:]
    submitted, plain = (Warehouse(spark, str(tmp_path / way)) for way in WAYS)
    for table, expected in ROWS:
        assert submitted.read(table).count() == expected, table
        assert_df_equality(submitted.read(table), plain.read(table), ignore_row_order=True)
    for way, warehouse in zip(WAYS, (submitted, plain), strict=True):
        runs = warehouse.read(ops.RUNS).where("status <> 'started'").orderBy("started_at")
        told = runs.select("job", "status", F.size("outputs"), F.col("code_version").startswith("wheel-"))
        assert [tuple(row) for row in told.collect()] == [
            ("clean_interactions", "succeeded", 4, way == "spark-submit"),
            ("measure_audience", "succeeded", 2, way == "spark-submit"),
        ]


def test_a_wrong_setting_under_spark_submit_ends_with_exit_code_2_and_one_line(tmp_path):
    code, told = told_by("spark-submit", "clean_interactions", f"logs={tmp_path}", "clean.max_lateness_days=soon")
    assert code == 2
    (line,) = (line for line in told.splitlines() if "clean_interactions:" in line)
    assert line == (
        "clean_interactions: settings: clean.max_lateness_days: Input should be a valid integer (given: 'soon')"
    )
    assert "Traceback" not in told and "Exception" not in told
