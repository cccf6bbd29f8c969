"""Jobs in processes of their own, as a person starts them in an activated virtual environment."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PYTHON = (sys.executable,)
SPARK_SUBMIT = (str(BIN / "spark-submit"), "--properties-file", "conf/spark/local.conf")

QUICK_START = (
    "-XX:TieredStopAtLevel=1 "
    f'"-XX:SharedArchiveFile={PROJECT}/.venv/spark-classes.jsa" -Xlog:cds=off -Xlog:cds+dynamic=off'
)
"""Java's options for one small job a process: quick compilation alone, and the classes that `make setup` kept."""


def started(job: str, *arguments: str, way: tuple[str, ...] = PYTHON, **variables: str) -> subprocess.Popen[str]:
    """Start a job, which heads a group of processes, without what the session of the tests has set."""
    command = [*way, f"jobs/{job}.py", "--env", "local", *arguments]
    return _process(command, variables, stderr=subprocess.PIPE)


def _process(command: list[str], variables: Mapping[str, str], **streams: int) -> subprocess.Popen[str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("SALIENCE_", "PYSPARK_", "SPARK_"))}
    mine["SPARK_SUBMIT_OPTS"] = QUICK_START
    mine["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=mine | variables,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        **streams,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process and return its exit code and what it printed to stdout and to stderr.

    It and its children are ended if it takes too long.
    """
    try:
        out, err = process.communicate(timeout=1200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def run(job: str, *arguments: str, way: tuple[str, ...] = PYTHON, **variables: str) -> tuple[int, str, str]:
    """Run a job and return as `ended` does."""
    return ended(started(job, *arguments, way=way, **variables))


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Session:
    """A process with a Spark session of its own that runs one job after another, so that two begin a job at once."""

    def __init__(self) -> None:
        self._process = _process([*PYTHON, "-m", "tests.one_by_one"], {}, stdin=subprocess.PIPE)

    def start(self, job: str, *arguments: str) -> None:
        """Have a job run once those that were started before have ended."""
        assert self._process.stdin is not None
        print(json.dumps([job, *arguments]), file=self._process.stdin, flush=True)

    def ended(self) -> tuple[int, str, str]:
        """Wait for the first job that was not waited for, and return as the function `ended` does."""
        assert self._process.stdout is not None
        code, out, err = json.loads(self._process.stdout.readline())
        return code, out, err

    def close(self) -> None:
        """End the process, at once if it does not end by itself."""
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
