"""Runs jobs one after the other in one process and Spark session, each as if it were started from the command line.

As a program it reads a job and its arguments, a JSON list, from each line of standard input, and answers each in a
line of standard output.
"""

import io
import json
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

JOBS = Path(__file__).parent.parent / "jobs"


def ran(job: str, *arguments: str) -> tuple[int, str, str]:
    """Run a job in this process's session; return its exit code and what it printed to stdout and to stderr."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [str(JOBS / f"{job}.py"), "--env", "local", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(sys.argv[0], run_name="__main__")
        raise AssertionError(f"{job} returned instead of ending with an exit code")
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = argv


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(ran(*json.loads(line))), flush=True)
