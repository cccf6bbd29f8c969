from pathlib import Path

import pytest

from salience.errors import InputError, SettingsError
from salience.session import read_properties, require_java

CONF = Path(__file__).parent.parent / "conf"


def java_that_says(folder: Path, text: str) -> Path:
    """Write an executable bin/java that answers -version with `text`, as Java does, on stderr."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{text}\nEND\n", encoding="utf-8")
    java.chmod(0o755)
    return java


def test_properties_are_read_as_spark_reads_them(tmp_path):
    file = tmp_path / "some.conf"
    file.write_text("# a comment\n\nspark.a   one two\n  spark.b=1=2\nspark.c = x  \nspark.d\n", encoding="utf-8")
    assert read_properties(file) == {"spark.a": "one two", "spark.b": "1=2", "spark.c": "x", "spark.d": ""}


@pytest.mark.parametrize("env", ["local", "cluster"])
def test_the_projects_own_properties_bring_delta(env):
    assert read_properties(CONF / "spark" / f"{env}.conf")["spark.sql.extensions"].endswith(
        "DeltaSparkSessionExtension"
    )


@pytest.mark.parametrize("env", ["local", "cluster"])
def test_the_largest_gram_matrix_that_one_fit_may_have_fits_into_what_the_driver_takes(env, settings):
    """A row of its upper triangle is two ints and a double."""
    items_squared = settings.recommend.search.ease_memory_mb * 1e6 / 24
    taken = read_properties(CONF / "spark" / f"{env}.conf")["spark.driver.maxResultSize"]
    assert taken.endswith("g") and items_squared / 2 * 16 < int(taken[:-1]) * 2**30


def test_a_missing_properties_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.conf: no such file; Spark's configuration is expected there"):
        read_properties(tmp_path / "none.conf")


@pytest.mark.parametrize("text", ['openjdk version "17.0.15" 2025-04-15', 'java version "21" 2023-09-19 LTS'])
def test_a_java_that_spark_runs_on_is_accepted(tmp_path, monkeypatch, text):
    java_that_says(tmp_path, text)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    require_java()


def test_java_home_goes_before_the_path(tmp_path, monkeypatch):
    java_that_says(tmp_path / "good", 'openjdk version "17.0.15" 2025-04-15')
    old = java_that_says(tmp_path / "old", 'openjdk version "11.0.2" 2019-01-15')
    monkeypatch.setenv("PATH", f"{tmp_path / 'good' / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    with pytest.raises(InputError) as caught:
        require_java()
    assert str(caught.value) == (f'Spark needs Java 17 or later, but {old} says: openjdk version "11.0.2" 2019-01-15')


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('java version "1.8.0_392"\nJava(TM) SE Runtime Environment', 'java version "1.8.0_392"'),
        ("Error: could not find libjava.so", "Error: could not find libjava.so"),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019-01-15', 'openjdk version "11.0.2"'),
    ],
)
def test_a_java_that_is_too_old_or_broken_is_refused_with_what_it_says(tmp_path, monkeypatch, said, found):
    java_that_says(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        require_java()
    assert found in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_machine_without_java_is_told_to_install_one(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"^Spark needs Java 17 .* there is no java on PATH: install one or set JAVA_HOME$"
    ):
        require_java()


def test_a_java_home_without_java_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        require_java()


def test_executors_on_a_cluster_log_by_the_file_that_is_sent_to_them():
    """Their logs would show the values that expressions fail on."""
    properties = read_properties(CONF / "spark" / "cluster.conf")
    sent = CONF.parent / properties["spark.files"]
    assert "(value not shown)" in sent.read_text(encoding="utf-8")
    (option,) = (one for one in properties["spark.executor.extraJavaOptions"].split() if "log4j2" in one)
    assert option == f"-Dlog4j2.configurationFile=file:{sent.name}"
