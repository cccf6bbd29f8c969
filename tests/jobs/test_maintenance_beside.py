"""Maintenance while others read and write, with real processes: readers' answers stay, and no writer fails."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable
from tests import silver_rows
from tests.feed import DAYS, Platform, event, user
from tests.snapshots import AS_OF, FIRST, LISTS, SECOND, SHORTFALLS, THIRD, fragment, record, run, write

from salience.tables import bronze, ops, publishing, silver
from salience.tables.upkeep import vacuum

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FRAGMENTED = (bronze.EVENTS, silver.INTERACTIONS, LISTS)
PEOPLE = [silver_rows.user(f"u{n}x") for n in range(12)]
AGED = str(datetime.now(UTC).date() + timedelta(days=100))
"""A day as of which releases of today are old."""
RETAINED = str(datetime.fromisoformat(DAYS[1]).date() + timedelta(days=55))
"""A day as of which 56 days go back to the second of DAYS."""
KEPT = ("--set", "retention.bronze_days=56", "--set", "retention.silver_days=56")
QUERY = "SELECT count(*), count(DISTINCT user_id), min(content_id), max(content_id) FROM current.recommendations"


def lists(warehouse, release):
    """Open a release in which everyone has a list of two."""
    publishing.open_release(warehouse, AS_OF, 1)
    people = [{"user_id": person, "rank": rank, "content_id": f"c{rank}"} for person in PEOPLE for rank in (1, 2)]
    write(warehouse, release, LISTS, *people)
    write(warehouse, release, SHORTFALLS)
    record(warehouse, run(release, LISTS, SHORTFALLS))


def events(day, how_many):
    return [event(f"{day}-{n}", f"{day[-2:]}T{n % 24:02}:00:00", uid=f"u{n % 12}") for n in range(how_many)]


@pytest.fixture(scope="module")
def feed(spark, sessions, tmp_path_factory):
    """Days of events and two published releases, the second in force, in many small files."""
    feed = Platform(spark, tmp_path_factory.mktemp("feed"))
    for session in sessions:
        session.start("query_tables", "--set", f"warehouse={feed.root}", "SELECT 1")
    feed.logs.mkdir()
    feed.deliver(DAYS[0], *(user(f"u{n}") for n in range(12)), dataset="users")
    for day in DAYS:
        feed.deliver(day, *events(day, 24))
    feed.clean(*DAYS)
    for release in (FIRST, SECOND):
        lists(feed.warehouse, release)
        publishing.publish(feed.warehouse, release, 1)
    for session in sessions:
        assert session.ended()[0] == 0
    return feed


def fragment_all(warehouse):
    for table in FRAGMENTED:
        fragment(warehouse, table, "user_id" if table is LISTS else "event_id")


class Processes:
    """The two sessions, running jobs on the feed's tables."""

    def __init__(self, sessions, feed):
        self.sessions = sessions
        settings = (f"warehouse={feed.root}", f"logs={feed.logs}", "platforms=[feed]", "recommend.k=2")
        self.places = [word for one in settings for word in ("--set", one)]

    def beside(self, *queues):
        """Have each process run its queue of jobs, beginning at the same moment; return what each job told."""
        for session, queue in zip(self.sessions, queues, strict=True):
            for command in queue:
                session.start(*command, *self.places)
        return [[session.ended() for _ in queue] for session, queue in zip(self.sessions, queues, strict=True)]


@pytest.fixture(scope="module")
def processes(sessions, feed):
    return Processes(sessions, feed)


def went_on_during(warehouse, job):
    """Return the jobs that ran, if only in part, while the last run of a job did."""
    rows = warehouse.read(ops.RUNS).where("status <> 'started'").orderBy("started_at").collect()
    last = next(row for row in reversed(rows) if row["job"] == job)
    met = [row for row in rows if row["started_at"] < last["ended_at"] and last["started_at"] < row["ended_at"]]
    return {row["job"] for row in met} - {job}


def test_cleaning_and_publishing_beside_compaction_lose_no_row_and_no_job_fails(feed, processes):
    """Deliveries of days in small files are corrected, and a release published, while these are put together."""
    fragment_all(feed.warehouse)
    lists(feed.warehouse, THIRD)
    for day in DAYS:
        feed.deliver(day, *events(day, 23))
    told = processes.beside(
        [("compact_tables", "--date", DAYS[-1])],
        [("clean_interactions", "--from", DAYS[0], "--to", DAYS[-1]), ("publish_release", "--release", THIRD)],
    )
    assert [[job[0] for job in queue] for queue in told] == [[0], [0, 0]], told
    assert went_on_during(feed.warehouse, "compact_tables") == {"clean_interactions", "publish_release"}
    row = feed.warehouse.read(ops.RELEASES).where("release_seq = 3").head()
    assert (row["release_id"], row["tables"]) == (THIRD, {str(LISTS): THIRD, str(SHORTFALLS): THIRD})
    assert feed.warehouse.read(LISTS).count() == 3 * len(PEOPLE) * 2
    assert feed.rows() == feed.rebuilt(*DAYS)


def opened(root):
    """Return the fragmented tables as deltalake finds them now: it reads them from the files that they have now."""
    return {str(table): DeltaTable(f"{root}/{table.layer}/{table.name}") for table in FRAGMENTED}


def digest(frame):
    """Return how many rows a frame has, and what they hold."""
    return len(frame), "\n".join(sorted(frame.astype(str).agg("|".join, axis="columns")))


def shown(root):
    """Return the lists in force, and the days of silver that are kept, as a reader finds them who comes now."""
    tables = dict(DeltaTable(f"{root}/ops/releases").to_pandas().sort_values("release_seq").iloc[-1]["tables"])
    now = opened(root)
    lists = now[str(LISTS)].to_pandas(filters=[("release_id", "=", tables[str(LISTS)])])
    events = now[str(silver.INTERACTIONS)].to_pandas()
    return digest(lists), digest(events[events["event_date"].astype(str) >= DAYS[1]])


def read_on(root, stop, parent):
    """Read again and again until told to stop; send word when it has begun, and at the end every answer."""
    began, answers = opened(root), []
    try:
        while not answers or not stop.is_set():
            pinned = {table: digest(delta.to_pandas()) for table, delta in began.items()}
            answers.append((pinned, shown(root)))
            if len(answers) == 1:
                parent.send("reading")
        parent.send(answers)
    except Exception as error:
        parent.send(repr(error))


@pytest.fixture
def reader(feed):
    """A process that reads on by deltalake."""
    start = multiprocessing.get_context("spawn")
    stop, (here, there) = start.Event(), start.Pipe()
    process = start.Process(target=read_on, args=(str(feed.root), stop, there))
    process.start()
    assert here.recv() == "reading"
    yield lambda: (stop.set(), here.recv())[1]
    process.join(60)
    assert process.exitcode == 0


def test_readers_see_the_same_while_days_and_releases_are_deleted_and_files_put_together(feed, processes, reader):
    """All three jobs at once, as their DAG runs them: none fails, and each does its work."""
    fragment_all(feed.warehouse)
    began = opened(feed.root)
    files = {table: len(delta.file_uris()) for table, delta in began.items()}
    query = ("query_tables", QUERY)
    told = processes.beside(
        [("compact_tables", "--date", RETAINED), query],
        [query, ("apply_retention", "--date", RETAINED, *KEPT), ("delete_old_releases", "--date", AGED), query],
    )
    answers = reader()
    assert [[job[0] for job in queue] for queue in told] == [[0] * 2, [0] * 4], told
    assert went_on_during(feed.warehouse, "compact_tables") == {"apply_retention", "delete_old_releases"}
    assert len(answers) > 5 and answers == [answers[0]] * len(answers)
    queries = [told[0][1], told[1][0], told[1][3]]
    assert {out for _, out, _ in queries} == {queries[0][1]}
    assert f"|{len(PEOPLE) * 2}" in queries[0][1]
    now = {str(table): feed.warehouse.read(table) for table in FRAGMENTED}
    for table, rows in now.items():
        assert len(rows.inputFiles()) < files[table]
        assert rows.count() < answers[0][0][table][0]
        assert digest(began[table].to_pandas()) == answers[0][0][table]
    assert {row[0] for row in now[str(LISTS)].select("release_id").collect()} == {THIRD}
    assert str(now[str(silver.INTERACTIONS)].agg({"event_date": "min"}).head()[0]) == DAYS[1]

    # So it was the kept files that they read.
    vacuum(feed.warehouse, FRAGMENTED, 0)
    for delta in began.values():
        with pytest.raises(Exception, match=r"No such file|not found"):
            delta.to_pandas()
    assert shown(feed.root) == answers[0][1]
