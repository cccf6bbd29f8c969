from datetime import UTC, date, datetime, timedelta

import pytest
from tests.silver_rows import user
from tests.snapshots import AS_OF, FIRST, LISTS, SECOND, SHORTFALLS, record, run, write

import publish_release
import rollback_release
from salience.job import run_job
from salience.models.store import ModelStore
from salience.tables import ops, publishing, releases, silver

pytestmark = pytest.mark.integration


@pytest.fixture
def act(settings, spark, capsys):
    """Run a job on the test's warehouse; return its exit code and what it printed on standard error."""

    def job(module, *arguments):
        argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--set", "recommend.k=2", *arguments]
        publishes = module is publish_release
        code = run_job(module.main, argv, interval=False, publishes=publishes, extra=getattr(module, "extra", None))
        return code, "".join(line for line in capsys.readouterr().err.splitlines(True) if " WARN " not in line)

    return job


@pytest.fixture
def made(warehouse):
    """Two releases: a good one, and one whose only list lacks its second rank and whose shortfalls name it twice."""
    for _ in range(2):
        publishing.open_release(warehouse, AS_OF, 1)
    write(warehouse, FIRST, LISTS, {"rank": 1}, {"rank": 2, "content_id": "c2"})
    write(warehouse, SECOND, LISTS, {"rank": 1}, {"rank": 3, "content_id": "c2"})
    write(warehouse, SECOND, SHORTFALLS, {}, {})
    record(warehouse, run(FIRST, LISTS), run(SECOND, LISTS, SHORTFALLS))
    return warehouse


def runs(warehouse):
    rows = warehouse.read(ops.RUNS).where("job <> 'test' AND status <> 'started'").orderBy("started_at")
    return [tuple(row) for row in rows.select("job", "release_id", "status").collect()]


def test_a_failed_audit_leaves_the_release_before_in_force_and_a_corrected_one_passes(act, made):
    assert act(publish_release, "--release", FIRST) == (0, "")
    in_force = releases.newest(made)
    assert (in_force.release_id, in_force.tables) == (FIRST, {str(LISTS): FIRST})

    code, told = act(publish_release, "--release", SECOND)
    assert code == 3
    assert told == (
        "publish_release: nothing was published: "
        f"gold.recommendation_shortfalls: rows beyond one per platform, user_id: 1 (at most 0) in {SECOND}; "
        f"gold.recommendations: lists with a gap in their ranks: 1 (at most 0) in {SECOND}; "
        f"gold.recommendations: people whose list and shortfall are not 2 long together: 1 (at most 0) in {SECOND}\n"
    )
    assert releases.newest(made) == in_force
    assert made.read(ops.RELEASES).count() == 1
    failed = made.read(ops.AUDITS).where("NOT passed").select("table", "place", "observed").collect()
    assert sorted(map(tuple, failed)) == [(str(SHORTFALLS), SECOND, 1.0), *[(str(LISTS), SECOND, 1.0)] * 2]

    write(made, SECOND, LISTS, {"rank": 1})
    write(made, SECOND, SHORTFALLS, {})
    assert act(publish_release, "--release", SECOND) == (0, "")
    assert releases.newest(made).tables == {str(LISTS): SECOND, str(SHORTFALLS): SECOND}

    assert act(rollback_release, "--to-seq", "1") == (0, "")
    assert (releases.newest(made).release_seq, releases.newest(made).tables) == (3, in_force.tables)
    assert runs(made) == [
        ("publish_release", FIRST, "succeeded"),
        ("publish_release", SECOND, "failed"),
        ("publish_release", SECOND, "succeeded"),
        ("rollback_release", None, "succeeded"),
    ]


def test_publishing_what_is_published_adds_no_row_and_is_no_error(act, made):
    assert act(publish_release, "--release", FIRST) == (0, "")
    assert act(publish_release, "--release", FIRST) == (0, "")
    assert made.read(ops.RELEASES).count() == 1
    assert runs(made) == [("publish_release", FIRST, "succeeded")] * 2


def test_a_release_of_an_earlier_day_is_an_error_or_left_as_is_asked(act, made):
    later = publishing.open_release(made, AS_OF + timedelta(days=1), 1)
    write(made, later, LISTS, {"rank": 1}, {"rank": 2, "content_id": "c2"})
    record(made, run(later, LISTS))
    assert act(publish_release, "--release", later) == (0, "")
    code, told = act(publish_release, "--release", FIRST)
    assert (code, told.startswith(f"publish_release: release {FIRST} is of an earlier day than {later}")) == (2, True)
    assert act(publish_release, "--release", FIRST, "--unless-later") == (0, "")
    assert releases.newest(made).release_id == later


@pytest.mark.parametrize("by_its_own", [True, False], ids=["published by another run", "a later day is published"])
def test_a_release_that_is_overtaken_while_it_is_audited_is_left_as_if_it_had_been_before(
    settings, made, capsys, by_its_own
):
    later = publishing.open_release(made, AS_OF + timedelta(days=1), 1)
    record(made, run(later, SHORTFALLS))
    told = f"{FIRST} is published already" if by_its_own else f"{FIRST} stays unpublished: {later}, of a later day"

    def overtaken(job):
        def publish_meanwhile(_):
            job.say = lambda _: None
            publishing.publish(made, FIRST if by_its_own else later, 1)

        job.say = publish_meanwhile
        publish_release.main(job)

    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--set", "recommend.k=2"]
    argv += ["--release", FIRST, "--unless-later"]
    assert run_job(overtaken, argv, interval=False, publishes=True, extra=publish_release.extra) == 0
    assert told in capsys.readouterr().out
    assert made.read(ops.RELEASES).count() == 1


def test_a_day_that_is_named_is_recorded_and_must_be_the_releases(act, made):
    code, told = act(publish_release, "--release", FIRST, "--date", "2026-11-03")
    assert (code, made.exists(ops.RELEASES)) == (2, False)
    assert told.startswith(f"publish_release: release {FIRST} is not of 2026-11-03; jobs/open_release.py --date")
    assert act(publish_release, "--release", FIRST, "--date", str(AS_OF)) == (0, "")
    days = made.read(ops.RUNS).where("status = 'started'").orderBy("started_at").select("interval_from", "interval_to")
    assert [tuple(row) for row in days.collect()] == [(date(2026, 11, 3),) * 2, (AS_OF, AS_OF)]


def test_a_model_whose_files_changed_keeps_its_release_from_being_published(act, made, spark):
    store = ModelStore(spark, f"{made.root}/models", "a run")
    saved = store.save(FIRST, "als/feed", {"items": spark.range(2)}, {})
    record(made, run(FIRST, **{"als/feed": saved}))
    assert act(publish_release, "--release", FIRST) == (0, "")
    saved = store.save(SECOND, "als/feed", {"items": spark.range(2)}, {})
    write(made, SECOND, LISTS, {"rank": 1}, {"rank": 2, "content_id": "c2"})
    write(made, SECOND, SHORTFALLS)
    record(made, run(SECOND, **{"als/feed": saved}))
    spark.range(1).write.mode("append").parquet(f"{saved.path}/items")
    code, told = act(publish_release, "--release", SECOND)
    assert code == 3
    assert told.endswith(f"model als/feed: files that changed since it was saved: 1 (at most 0) in {SECOND}\n")


def test_a_release_that_names_somebody_who_was_erased_meanwhile_is_not_published(act, made):
    gone = {"platform": "feed", "user_id": user("ann"), "erased_at": datetime.now(UTC)}
    made.append_rows(silver.ERASURES, [gone | {"platform": "video"}])
    assert act(publish_release, "--release", FIRST) == (0, "")
    write(made, SECOND, LISTS, {"rank": 1}, {"rank": 2, "content_id": "c2"})
    write(made, SECOND, SHORTFALLS)
    made.append_rows(silver.ERASURES, [gone])
    code, told = act(publish_release, "--release", SECOND)
    assert code == 3
    assert told.endswith(f"{LISTS}: rows that name erased people (make the release anew): 2 (at most 0) in {SECOND}\n")


def test_a_run_that_is_overtaken_by_the_publishing_of_its_release_writes_nothing_more(settings, made, spark):
    def late(job):
        rows = made.read(LISTS).where(f"release_id = '{job.release}'").drop("release_id")
        publishing.publish(made, job.release, 1)
        job.write_snapshot(LISTS, rows.limit(1))

    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--release", FIRST]
    assert run_job(late, argv, interval=False) == 2
    assert made.read(LISTS).where(f"release_id = '{FIRST}'").count() == 2


def test_a_run_for_a_release_that_is_published_is_refused_before_it_does_anything(settings, made, capsys):
    begun = []

    def main(job):
        begun.append(job)

    publishing.publish(made, FIRST, 1)
    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--release", FIRST]
    assert run_job(main, argv, interval=False) == 2
    assert begun == []
    assert f"release {FIRST} is published and is never written again; open a new one" in capsys.readouterr().err


def test_publishing_and_rolling_back_register_views_where_a_setting_asks_for_them(act, made, spark):
    def shown():
        return spark.sql("SELECT DISTINCT release_id FROM current.recommendations").collect()[0][0]

    asked = ("--set", "release.register_views=true")
    assert act(publish_release, "--release", FIRST)[0] == 0
    assert not spark.catalog.databaseExists("current")
    write(made, SECOND, LISTS, {"rank": 1}, {"rank": 2, "content_id": "c2"})
    write(made, SECOND, SHORTFALLS)
    assert act(publish_release, "--release", SECOND, *asked) == (0, "")
    assert shown() == SECOND
    assert act(rollback_release, "--to-seq", "1", *asked) == (0, "")
    assert shown() == FIRST


def test_a_release_that_cannot_be_published_says_why_and_ends_with_exit_code_2(act, made):
    assert act(publish_release, "--release", FIRST)[0] == 0
    for arguments, told in (
        ([], "which release? give --release ID; ops.opened_releases lists them"),
        (["--release", "x"], "release x was never opened; jobs/open_release.py reserves and prints an id"),
    ):
        assert act(publish_release, *arguments) == (2, f"publish_release: {told}\n")
    code, told = act(rollback_release, "--to-seq", "9")
    assert code == 2 and told.startswith("rollback_release: there is no release_seq 9 in ops.releases")
    assert made.read(ops.RELEASES).count() == 1
