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

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from salience.errors import InputError, SettingsError
from salience.tables.storage import as_list, java_class

MINIMUM_JAVA = 17
CREDENTIAL_PROVIDERS = "hadoop.security.credential.provider.path"
"""Hadoop's property that names its credential providers, like jceks://hdfs@namenode/keys.jceks."""


def build_session(app_name: str, conf_dir: Path, env: str) -> SparkSession:
    """Return the session of this process.

    Under spark-submit its configuration is already there (`--properties-file`); a plain `python jobs/NAME.py` takes
    `conf/spark/<env>.conf`.

    Raises:
        InputError: there is no Java, or one that is too old for Spark.
        SettingsError: the properties file is missing, or names an event log that cannot be written.
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
    try:
        with _java_printing_to_stderr():
            spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    except Py4JJavaError as error:
        told = str(error.java_exception).splitlines()[0]
        if "EventLog" not in str(error) or not told.startswith("java.io.FileNotFoundException"):
            raise
        remedy = "make that folder, or set spark.eventLog.dir or spark.eventLog.enabled"
        raise SettingsError(f"Spark cannot write its event log: {told}; {remedy} (conf/spark/{env}.conf)") from None
    if "DeltaSparkSessionExtension" not in str(spark.conf.get("spark.sql.extensions", "")):
        raise SettingsError(f"this Spark session has no Delta Lake: use --properties-file conf/spark/{env}.conf")
    return spark


def logs_json(spark: SparkSession) -> bool:
    """Return whether conf/log4j2.properties was told to log JSON (-Dsalience.log=json).

    Raises:
        SettingsError: it was told something else, and so logs nothing.
    """
    told = str(java_class(spark, "java.lang.System").getProperty("salience.log") or "text")
    if told not in ("json", "text"):
        raise SettingsError(f"-Dsalience.log={told}: there are json and text (spark.driver.extraJavaOptions)")
    return told == "json"


def log_as(spark: SparkSession, run_id: str) -> None:
    """Let what Spark's driver logs as JSON carry the id of the process's own run."""
    java_class(spark, "java.lang.System").setProperty("salience.run_id", run_id)


def find_credential(spark: SparkSession, alias: str) -> str | None:
    """Return what the credential providers of the session's Hadoop configuration hold under an alias; None for nothing.

    Hadoop's own look-up goes on to properties of that name. This one refuses them: event logs show them.

    Raises:
        SettingsError: a provider cannot be read, or there is such a property.
    """
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    if configuration.get(alias) is not None:
        raise SettingsError(
            f"the property {alias} holds a secret in clear text, which event logs show: take it away, keep a new "
            f"secret with a credential provider ({CREDENTIAL_PROVIDERS})"
        )
    try:
        factory = java_class(spark, "org.apache.hadoop.security.alias.CredentialProviderFactory")
        for provider in as_list(factory.getProviders(configuration)):
            entry = provider.getCredentialEntry(alias)
            if entry is not None:
                return "".join(entry.getCredential())
    except (Py4JJavaError, PySparkException) as error:
        told = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
        path = configuration.get(CREDENTIAL_PROVIDERS)
        raise SettingsError(
            f"{path} cannot be read for {alias}: {told.splitlines()[0]}; check {CREDENTIAL_PROVIDERS} and "
            "HADOOP_CREDSTORE_PASSWORD"
        ) from None
    return None


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
