"""A real HDFS for tests: one NameNode and one DataNode on this machine, which live no longer than the tests' process.

Its classes come in one jar, which Ivy fetches as it fetches Delta's; all else lies among PySpark's jars.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import pyspark
from pyspark.sql import SparkSession
from tests.conftest import CONF
from tests.processes import free_port

JARS = Path(pyspark.__file__).parent / "jars"
_LEAVE = 2**63 - 1
"""Hadoop's word for a quota that stays as it is."""
_PATIENCE_S = 180
_SMALL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_WITH_ME = 'exec 3<&0; { read -r _ <&3; kill -9 $$; } & exec "$@" 3<&- </dev/null'
"""A shell's line: runs a command and kills it when stdin ends, as it does when whoever holds its other end dies."""
_LOG = "rootLogger.level=warn\nrootLogger.appenderRef.a.ref=a\nappender.a.type=Console\nappender.a.name=a\n"


def hadoop_jar() -> Path:
    """Return the jar of Hadoop's servers, of the version that PySpark's client has: the two must be equal."""
    (client,) = JARS.glob("hadoop-client-api-*.jar")
    (ivy,) = JARS.glob("ivy-*.jar")
    version = client.stem.removeprefix("hadoop-client-api-")
    wanted = ["-dependency", "org.apache.hadoop", "hadoop-client-minicluster", version, "-notransitive"]
    settings = ["-settings", str(CONF / "spark" / "ivysettings.xml"), "-cachepath", "/dev/stdout"]
    command = [*_java(ivy), "org.apache.ivy.Main", *settings, *wanted, "-warn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found = [line for line in done.stdout.splitlines() if line.endswith(".jar") and Path(line).is_file()]
    if len(found) != 1:
        wanted_jar = f"org.apache.hadoop:hadoop-client-minicluster:{version}"
        raise RuntimeError(f"Ivy cannot fetch {wanted_jar}, as it fetches Delta's jars:\n{done.stdout}{done.stderr}")
    return Path(found[0])


class Hdfs:
    """A NameNode and a DataNode whose files lie below a folder of this machine."""

    def __init__(self, folder: Path, jar: Path) -> None:
        self.folder, self._jar = folder, jar
        self.conf = folder / "conf"
        self._rpc, self._http = free_port(), free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"hdfs://127.0.0.1:{self._rpc}"
        self.conf.mkdir(parents=True)
        (self.conf / "core-site.xml").write_text(_xml({"fs.defaultFS": self.url}), encoding="utf-8")
        (self.conf / "hdfs-site.xml").write_text(_xml(self._settings()), encoding="utf-8")
        (self.conf / "log4j2.properties").write_text(_LOG, encoding="utf-8")

    def _settings(self) -> dict[str, object]:
        return {
            "dfs.replication": 1,
            "dfs.permissions.enabled": "false",
            "dfs.namenode.name.dir": self.folder / "name",
            "dfs.namenode.http-address": f"127.0.0.1:{self._http}",
            "dfs.namenode.safemode.extension": 0,
            # A silent DataNode is dead after twice the one and ten times the other.
            "dfs.namenode.heartbeat.recheck-interval": 500,
            "dfs.heartbeat.interval": 1,
            "dfs.datanode.data.dir": self.folder / "data",
            "dfs.datanode.http.address": "127.0.0.1:0",
            "dfs.datanode.ipc.address": "127.0.0.1:0",
            "dfs.datanode.du.reserved": 0,
        }

    def start(self) -> None:
        """Format the NameNode's folder and start both."""
        name_node = "org.apache.hadoop.hdfs.server.namenode.NameNode"
        command = [*self._command(), name_node, "-format", "-force", "-nonInteractive"]
        with self._told("format").open("wb") as told:
            subprocess.run(command, stdout=told, stderr=told, check=True, timeout=_PATIENCE_S)
        self._start("name_node", name_node)
        self._wait("name_node", lambda: self._about("NameNodeInfo").get("Safemode") == "")
        self.start_data_node()

    def start_data_node(self) -> None:
        """Start the DataNode, and wait until the NameNode knows it and every block that it holds."""
        port = free_port()
        own = f"-Ddfs.datanode.address=127.0.0.1:{port}"
        self._start("data_node", "org.apache.hadoop.hdfs.server.datanode.DataNode", own)

        def is_known() -> bool:
            alive = json.loads(self._about("NameNodeInfo").get("LiveNodes", "{}")).values()
            blocks = [node["numBlocks"] for node in alive if node["xferaddr"] == f"127.0.0.1:{port}"]
            return blocks == [self._about("FSNamesystemState").get("BlocksTotal")]

        self._wait("data_node", is_known)

    def kill_data_node(self) -> None:
        """Kill the DataNode: it has no time to say farewell, so the NameNode believes in it for some seconds more."""
        self._kill("data_node")

    def stop(self) -> None:
        """Kill what runs."""
        for name in list(self._processes):
            self._kill(name)

    def files(self, spark: SparkSession) -> Any:
        """Return Hadoop's view of the file system, in a session's JVM."""
        jvm: Any = spark._jvm
        return jvm.org.apache.hadoop.fs.Path(self.url).getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())

    def space_used(self, spark: SparkSession, path: str) -> int:
        """Return the bytes that a quota on this folder counts."""
        return int(self.files(spark).getContentSummary(_path(spark, path)).getSpaceConsumed())

    def set_space_quota(self, spark: SparkSession, path: str, size: int) -> None:
        """Limit the bytes in a folder; a file that is being written counts as a whole block until it is closed."""
        self.files(spark).setQuota(_path(spark, path), _LEAVE, size)

    def put(self, spark: SparkSession, local: Path, path: str) -> None:
        """Copy a local folder."""
        self.files(spark).copyFromLocalFile(_path(spark, f"file://{local}"), _path(spark, path))

    def _start(self, name: str, *arguments: str) -> None:
        with self._told(name).open("wb") as told:
            self._processes[name] = subprocess.Popen(
                ["sh", "-c", _WITH_ME, "sh", *self._command(), *arguments],
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=told,
            )

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.stdin.close()
        process.wait(_PATIENCE_S)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        until = monotonic() + _PATIENCE_S
        while monotonic() < until and self._processes[name].poll() is None:
            try:
                if is_ready():
                    return
            except OSError:
                pass  # it does not listen yet
            sleep(0.1)
        raise RuntimeError(f"the {name} did not start:\n{self._told(name).read_text(encoding='utf-8')[-4000:]}")

    def _about(self, bean: str) -> dict[str, Any]:
        """Return what the NameNode says of itself."""
        query = f"http://127.0.0.1:{self._http}/jmx?qry=Hadoop:service=NameNode,name={bean}"
        with urlopen(query, timeout=10) as answer:
            beans = json.load(answer)["beans"]
        return dict(beans[0]) if beans else {}

    def _command(self) -> list[str]:
        names = ("hadoop-client-*", "log4j-*", "slf4j-api-*", "jcl-over-slf4j-*", "javax.servlet-api-*")
        own = (f"-Djava.io.tmpdir={self.folder}",)  # Jetty unpacks its pages there, and leaves them
        return _java(self.conf, self._jar, *(jar for name in names for jar in JARS.glob(f"{name}.jar")), options=own)

    def _told(self, name: str) -> Path:
        return self.folder / f"{name}.txt"


def _java(*class_path: Path, options: tuple[str, ...] = ()) -> list[str]:
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else str(shutil.which("java"))
    return [java, *_SMALL, *options, "-cp", os.pathsep.join(map(str, class_path))]


def _path(spark: SparkSession, text: str) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(text)


def _xml(settings: dict[str, object]) -> str:
    lines = [f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items()]
    return "\n".join(["<configuration>", *lines, "</configuration>\n"])
