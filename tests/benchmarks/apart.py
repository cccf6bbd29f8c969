"""Measuring in processes of their own: a module that prints JSON as its last line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent.parent
CONF = PROJECT / "conf"


def measured(module: str, *arguments: object, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run `benchmarks.<module>` and return what it printed.

    Numerical libraries get one thread in each process and task: Spark, or the peer, has as many of these as there are
    cores.
    """
    paths = os.pathsep.join(str(PROJECT / folder) for folder in ("lib", "jobs", "tests"))
    inherited = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", **(env or {})}
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    ran = subprocess.run(command, check=True, cwd=PROJECT, env=inherited, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))
