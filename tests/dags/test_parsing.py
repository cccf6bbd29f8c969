"""What Airflow's workers and DAG processor do each time they parse the folder: little, and without Spark."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

DAGS = Path(__file__).parent.parent.parent / "airflow_dags"
IDS = sorted(file.stem for file in DAGS.glob("*.py") if "with DAG(" in file.read_text(encoding="utf-8"))


@pytest.fixture
def fresh(tmp_path):
    """Run a script in a Python of its own, in the folder of the DAGs, and return its last line."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    settings = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def run(script, **variables):
        command = [sys.executable, "-c", script]
        env = inherited | settings | variables
        done = subprocess.run(command, cwd=DAGS, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    return run


PARSING = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.apache.spark.operators import spark_submit
from airflow.providers.standard.operators import bash
from airflow.providers.standard.sensors import external_task
from airflow.sdk import DAG, Asset

begun = time.process_time()
bag = DagBag(".")
assert len(bag.dags) == 6, bag.import_errors
print(time.process_time() - begun, "pyspark" in sys.modules)
"""


def test_the_files_add_less_than_a_second_to_what_airflow_and_its_providers_import(fresh):
    seconds, has_spark = fresh(PARSING).split()
    assert float(seconds) < 1 and has_spark == "False"


def test_the_environment_and_the_project_folder_may_be_named(fresh):
    script = (
        "import daily_recommendations; task = daily_recommendations.dag.get_task('recommend');"
        "print(task.application, task.properties_file, *task.application_args[:2])"
    )
    variables = {"AIRFLOW_SALIENCE_ENV": "local", "AIRFLOW_SALIENCE_HOME": "/opt/salience"}
    told = fresh(script, **variables)
    assert told == "/opt/salience/jobs/recommend.py /opt/salience/conf/spark/local.conf --env local"


def test_parsing_imports_no_spark(fresh):
    dags = ", ".join(IDS)
    told = fresh(
        f"import {dags}, sys; print({{name.split('.')[0] for name in sys.modules}} & {{'pyspark', 'salience'}})"
    )
    assert told == "set()"
