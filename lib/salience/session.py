"""The only place that builds a SparkSession."""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from salience.errors import InputError, SettingsError

MINIMUM_JAVA = 17


def build_session(app_name: str, conf_dir: Path, env: str) -> SparkSession:
    """Return the session of this process.

    Under spark-submit its configuration is already there (`--properties-file`); a plain `python jobs/NAME.py` takes
    `conf/spark/<env>.conf`.

    Raises:
        InputError: there is no Java, or one that is too old for Spark.
        SettingsError: the properties file is missing.
    """
    if env == "local":
        # Spark's own default is whatever python3 is first on PATH, which may not have this package's libraries.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for chatty in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # They print every SQL error as JSON with its stack trace, also those that a job answers in a line of its own.
        logging.getLogger(chatty).disabled = True
    builder = SparkSession.builder.appName(app_name)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        require_java()
        for key, value in read_properties(conf_dir / "spark" / f"{env}.conf").items():
            # Paths in the file start at the folder that holds conf/, wherever the job is started from.
            builder = builder.config(key, re.sub(r"(?<![\w./-])conf/", f"{conf_dir}/", value))
    with _java_printing_to_stderr():
        spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    if "DeltaSparkSessionExtension" not in str(spark.conf.get("spark.sql.extensions", "")):
        raise SettingsError(f"this Spark session has no Delta Lake: use --properties-file conf/spark/{env}.conf")
    return spark


@contextmanager
def _java_printing_to_stderr() -> Iterator[None]:
    """Let a JVM that starts here inherit stderr for stdout: what Ivy says is not part of a job's answer."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def read_properties(file: Path) -> dict[str, str]:
    """Read a Spark properties file: a key and a value a line, parted by white space or `=`.

    Raises:
        SettingsError: the file is missing.
    """
    if not file.is_file():
        raise SettingsError(f"{file}: no such file; Spark's configuration is expected there")
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (re.split(r"\s*=\s*|\s+", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def require_java() -> None:
    """Check that Spark will find a Java that it runs on.

    Raises:
        InputError: there is none, or one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        where = f"JAVA_HOME is {home}, but there is no bin/java in it" if home else "there is no java on PATH"
        raise InputError(f"Spark needs Java {MINIMUM_JAVA} or later and {where}: install one or set JAVA_HOME")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    lines = [line for line in told if not line.startswith("Picked up ")]
    version = re.search(r'version "(?:1\.)?(\d+)', "\n".join(lines))
    if version is None or int(version[1]) < MINIMUM_JAVA:
        found = lines[0] if lines else "an unknown version"
        raise InputError(f"Spark needs Java {MINIMUM_JAVA} or later, but {java} says: {found}")
