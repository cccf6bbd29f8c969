"""An Airflow of a test's own, whose jobs are real: `airflow dags test`, or the scheduler itself."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import psutil
from tests.processes import QUICK_START

PROJECT = Path(__file__).parent.parent.parent
SPARK_BIN = PROJECT / ".venv" / "bin"
_AIRFLOW = str(Path(sys.executable).parent / "airflow")


def variables_of(folder):
    """Environment variables of an Airflow, and of the jobs that it starts, that live in a folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SALIENCE_", "AIRFLOW"))}
    inherited.pop("SPARK_HOME", None)  # spark-submit finds its own; one that is set but empty breaks it
    connection = {"conn_type": "spark", "host": "local[2]"}
    connection["extra"] = {"spark-binary": "spark-submit", "deploy-mode": "client"}
    return inherited | {
        "PATH": f"{SPARK_BIN}{os.pathsep}{os.environ['PATH']}",
        "SPARK_SUBMIT_OPTS": QUICK_START,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "airflow_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db?timeout=60",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(connection),
        "AIRFLOW_SALIENCE_ENV": "local",
        "SALIENCE_LOGS": str(folder / "logs"),
        "SALIENCE_WAREHOUSE": str(folder / "warehouse"),
        "SALIENCE_SIMULATE__TRUTH": str(folder / "truth"),
        # Eight days have no room for longer windows.
        "SALIENCE_ENGAGEMENT__TEST_DAYS": "1",
        "SALIENCE_ENGAGEMENT__VALIDATION_DAYS": "1",
    }


def run(variables, *command, code=0):
    """Run the command outside the project's folder, check its exit code and return all that it printed."""
    done = subprocess.run(
        command,
        cwd=Path(variables["AIRFLOW_HOME"]).parent,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == code, done.stdout[-8000:]
    return done.stdout


def run_jobs(variables, *jobs):
    """Run jobs, each with its arguments, one after the other in one process: that takes less time than one each."""
    done = subprocess.run(
        [str(SPARK_BIN / "python"), "-m", "tests.one_by_one"],
        cwd=PROJECT,
        env=variables,
        input="".join(f"{json.dumps(job)}\n" for job in jobs),
        stdout=subprocess.PIPE,
        text=True,
        timeout=1500,
        check=True,
    )
    for job, line in zip(jobs, done.stdout.splitlines(), strict=True):
        code, *told = json.loads(line)
        assert code == 0, (job, told)


def simulate(last_day, **size):
    """Return the job that writes logs that end with a day."""
    settings = [part for name, value in size.items() for part in ("--set", f"simulate.{name}={value}")]
    return ["simulate_logs", "--date", last_day, *settings]


def airflow(variables, *command, code=0):
    """Run `airflow` and return all that it printed."""
    return run(variables, _AIRFLOW, *command, code=code)


def set_up(variables):
    """Make the database and the pool, with one slot."""
    airflow(variables, "db", "migrate")
    airflow(variables, "pools", "set", "salience", "1", "Spark jobs at once")


def run_dag(variables, dag_id, logical_date, code=0, done_already=False, **params):
    """Run a DAG with `airflow dags test`, which makes a run by hand: it takes the interval that ended last by then.

    What was done already, without Airflow, is marked as such.
    """
    set_up(variables)
    configured = ("--conf", json.dumps(params)) if params else ()
    configured += ("--mark-success-pattern", ".*") if done_already else ()
    without = variables | {"AIRFLOW_SALIENCE_DEADLINES": "no"}
    return airflow(without, "dags", "test", dag_id, logical_date, *configured, code=code)


@contextmanager
def scheduling(variables):
    """Let Airflow's own processes run what is due, on ports of this machine that are free; yield the first of them.

    All that they started is ended with them.
    """
    ports = [_free_port() for _ in range(3)]
    settings = {
        "PATH": f"{variables['PATH']}{os.pathsep}{Path(sys.executable).parent}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports[0]),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports[0]}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports[1]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports[2]),
    }
    log = Path(variables["AIRFLOW_HOME"]).parent / "standalone.log"
    with log.open("w") as told:
        started = subprocess.Popen([_AIRFLOW, "standalone"], env=variables | settings, stdout=told, stderr=told)
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        family = [*process.children(recursive=True), process]
        for one in family:
            one.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for one in alive:
            one.kill()
        started.wait(timeout=20)


def until(found, seconds, every=2.0):
    """Return what `found` returns, as soon as that is true; fail after some seconds."""
    begun = monotonic()
    while monotonic() - begun < seconds:
        if result := found():
            return result
        sleep(every)
    raise TimeoutError(f"waited {seconds} s in vain")


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def listening(code=200):
    """Yield an address on this machine, and what was posted there."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
