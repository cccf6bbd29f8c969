"""Jobs in processes of their own, as a person starts them in an activated virtual environment."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PYTHON = (sys.executable,)
SPARK_SUBMIT = (str(BIN / "spark-submit"), "--properties-file", "conf/spark/local.conf")


def started(job: str, *arguments: str, way: tuple[str, ...] = PYTHON, **variables: str) -> subprocess.Popen[str]:
    """Start a job, which heads a group of processes, without what the session of the tests has set."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("SALIENCE_", "PYSPARK_", "SPARK_"))}
    mine["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [*way, f"jobs/{job}.py", "--env", "local", *arguments],
        cwd=PROJECT,
        env=mine | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
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
