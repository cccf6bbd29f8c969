"""The accounting equation on generated dirty deliveries: every emitted event is rejected, excluded or accepted.

Every verdict is worked out a second time by plain Python, which knows nothing of the rules' code.
"""

import random
from collections import Counter
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import groupby, pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F
from tests.conftest import CONF

from salience.interactions.bronze_rows import bronze_rows
from salience.interactions.day_rules import judge_days
from salience.interactions.keys import find_key
from salience.interactions.suspects import suspects
from salience.settings import load_settings
from salience.sources.deliveries import find_deliveries
from salience.sources.mapping import SourceMapping

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS = (date(2026, 11, 2), date(2026, 11, 3))
EVENTS = {  # what a row of each kind stands for
    "show": [("shown", "impression")],
    "like": [("liked", "like")],
    "both": [("shown", "impression"), ("liked", "like")],
    "follow": [("followed", "follow")],
}
MAPPING = SourceMapping.model_validate(
    {
        "platform": "lab",
        "interactions": {
            "raw": dict.fromkeys(("id", "who", "item", "kind", "at"), "string") | {"score": "double"},
            "columns": {"event_id": "id", "raw_user_id": "who", "content_id": "item", "rating": "score"},
            "emit": {
                "shown": {"action": "impression", "when": "kind IN ('show', 'both')"},
                "liked": {"action": "like", "when": "kind IN ('like', 'both')"},
                "followed": {"action": "follow", "when": "kind = 'follow'"},
            },
            "event_time": {"from": "at", "unit": "iso8601"},
        },
    }
)
PER_DAY, PER_MINUTE, REGULAR, VARIATION = 24, 12, 4, "0.05"
CLEAN = load_settings(
    CONF,
    "local",
    {},
    [
        f"clean.bot.max_events_per_day={PER_DAY}",
        f"clean.bot.max_events_per_minute={PER_MINUTE}",
        f"clean.bot.regular_events={REGULAR}",
        f"clean.bot.regular_variation={VARIATION}",
        "clean.double_tap.seconds=1",
        "clean.max_lateness_days=3",
        "clean.future_tolerance_minutes=10",
    ],
).clean
NOON = datetime(2026, 11, 2, 12)
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "who", "item", "kind", "at")] + [("score", pa.float64())])


def moment(ms):
    return (NOON + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


HALF_DAY_MS = 12 * 3_600_000
TIMES = st.one_of(
    st.integers(0, 8).map(lambda n: moment(n * 500)),  # close to one another: double taps, crowded minutes
    st.integers(0, 30).map(lambda n: moment(n * 20_000)),  # regular
    st.integers(-3, 3).map(lambda n: moment(HALF_DAY_MS + n * 500)),  # around midnight
    st.sampled_from([-7, -5, -4, -3, -1, 1, 2, 3]).map(lambda days: moment(days * 2 * HALF_DAY_MS)),
    st.sampled_from([599_999, 600_000]).map(lambda ms: moment(HALF_DAY_MS + ms)),  # the tolerated ten minutes
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.one_of(st.sampled_from([f"e{n}" for n in range(12)]), st.sampled_from([None, "", " e", "e ", "a\nb"])),
        "who": st.sampled_from(["ann", "ann", "ann", "ann", "bob", "bob", None, "", "x\t"]),
        "item": st.sampled_from(["p", "p", "p", "q", None]),
        "kind": st.sampled_from(["show", "like", "like", "both", "follow", "dance", None]),
        "at": st.one_of(TIMES, TIMES, TIMES, st.sampled_from([None, "soon", "2026-02-30T10:00:00Z", "10:00"])),
        "score": st.sampled_from([None, None, 5.0, float("nan"), float("-inf")]),
    }
)
CLEAN_ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 99).map(lambda n: f"c{n}"),
        "who": st.sampled_from(["ann", "bob"]),
        "item": st.sampled_from(["p", "q"]),
        "kind": st.sampled_from(["show", "like", "both"]),
        "at": TIMES,
        "score": st.none(),
    }
)


def series(size, step_ms, item):
    """Return likes at the same distance: too many, too fast, too regular, double taps, or nothing of these."""
    usual = {"who": "ann", "item": item, "kind": "like", "score": None}
    return [usual | {"id": f"s{n}", "at": moment(n * step_ms + n % 3)} for n in range(size)]


SERIES = st.builds(
    series,
    st.sampled_from([0, 3, 4, 9, 13, 25]),
    st.sampled_from([400, 998, 1000, 20_000, 900_000]),
    st.sampled_from("pq"),
)


@st.composite
def deliveries(draw):
    """Return the rows of two days' deliveries, in two files each, with copies within and across them."""
    rows = draw(st.lists(st.one_of(ROWS, CLEAN_ROWS, CLEAN_ROWS), min_size=4, max_size=40))
    of_series = draw(SERIES)
    rows += of_series * draw(st.integers(1, 2))
    rows += draw(st.lists(st.sampled_from(rows), max_size=12))
    rows += [row | {"who": "bob"} for row in draw(st.lists(st.sampled_from(rows), max_size=2))]
    places = draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    return [[row for row, place in zip(rows, places, strict=True) if place == n] for n in range(4)]


def write(logs, files):
    for n, rows in enumerate(files):
        folder = logs / "lab" / "interactions" / f"dt={DAYS[n // 2]}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"part-{n % 2}.parquet")
        (folder / "_SUCCESS").touch()


def judged(spark, logs, partitions=None):
    """Return the bronze rows, and the verdicts on those that pass: one counted tuple an event."""
    found = find_deliveries(spark, str(logs), MAPPING, "interactions", DAYS)
    assert [delivery.state for delivery in found] == ["taken", "taken"]
    rows = bronze_rows(spark, MAPPING, "interactions", find_key("lab", "local", {}), found, CLEAN).persist()
    passing = rows.where(F.size("violations") == 0).withColumn("user_id", F.col("raw_user_id"))
    if partitions:
        passing = passing.repartition(partitions, "content_id")
    bronze = rows.collect()
    days = sorted({row["event_date"] for row in bronze if not row["violations"]})
    with suspects(passing, CLEAN) as found:
        suspect, others = found.split(passing)
        verdicts = judge_days(suspect, None, None, days, CLEAN).collect() if days else []
        verdicts += others.withColumns(unsuspected()).collect()
    rows.unpersist()
    return bronze, verdicts


def unsuspected():
    """Return what stands of an event that nothing makes suspect."""
    nothing = F.lit(None).cast("string")
    reasons = F.array().cast("array<string>")
    return {"reasons": reasons, "reason": nothing, "winner_event_id": nothing, "is_reused": F.lit(False)}


def told(row):
    return tuple(row[name] for name in ("event_id", "event_time", "delivery_date", "row_hash", "source_file"))


def expected_violations(raw, delivery):
    """Return for each event of a raw row its id and the row rules that it breaks."""
    try:
        at = datetime.strptime(raw["at"] or "", "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        at = None
    midnight = datetime.combine(delivery, datetime.min.time())
    blank = [raw[name] is not None and (raw[name] != raw[name].strip() or raw[name] == "") for name in ("id", "who")]
    of_row = {
        "missing_event_id": raw["id"] is None,
        "missing_user_id": raw["who"] is None,
        "malformed_id": any(blank) or "\n" in (raw["id"] or ""),
        "missing_time": raw["at"] is None,
        "unparseable_time": raw["at"] is not None and at is None,
        "future_event": at is not None and at >= midnight + timedelta(days=1, minutes=10),
        "too_late": at is not None and at < midnight - timedelta(days=3),
        "absurd_rating": raw["score"] is not None and raw["score"] - raw["score"] != 0,
    }
    for _, action in EVENTS.get(raw["kind"], [("", None)]):
        # An action that is not known is not known to need no content.
        rules = of_row | {
            "unknown_action": action is None,
            "missing_content_id": raw["item"] is None and action in ("impression", "like"),
        }
        yield action, sorted(name for name, broken in rules.items() if broken)


def expected_verdicts(events):
    """Return each passing event with its day rules and the event that stands for it."""
    winners, found = [], []
    by_event = sorted(events, key=lambda e: (e["event_id"], e["event_time"]))
    for _, copies in groupby(by_event, key=lambda e: (e["event_id"], e["event_time"])):
        first, *others = sorted(copies, key=lambda e: (e["delivery_date"], e["row_hash"], e["source_file"]))
        winners.append(first)
        found += [(*told(copy), ("duplicate",), copy["event_id"]) for copy in others]
    for event in winners:
        of_day = [
            e for e in winners if (e["raw_user_id"], e["event_date"]) == (event["raw_user_id"], event["event_date"])
        ]
        same = [
            e
            for e in winners
            if event["content_id"] is not None
            and all(e[name] == event[name] for name in ("raw_user_id", "content_id", "action"))
            and (e["event_time"], e["event_id"]) < (event["event_time"], event["event_id"])
        ]
        before = max(same, key=lambda e: (e["event_time"], e["event_id"]), default=None)
        taps = event["action"] in ("like", "follow") and before is not None
        taps = taps and event["event_time"] - before["event_time"] <= timedelta(seconds=1)
        reasons = ("bot",) * is_bot(of_day) + ("double_tap",) * taps
        # The first reason says whether another event stands for this one.
        found.append((*told(event), reasons, before["event_id"] if reasons[:1] == ("double_tap",) else None))
    return found


def is_bot(of_day):
    times = sorted(e["event_time"] for e in of_day)
    busiest = max(sum(start <= t < start + timedelta(minutes=1) for t in times) for start in times)
    gaps = [(b - a) // timedelta(milliseconds=1) for a, b in pairwise(times)]
    if len(times) >= REGULAR and sum(gaps):
        mean = Fraction(sum(gaps), len(gaps))
        variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
        if variance < (Fraction(VARIATION) * mean) ** 2:
            return True
    return len(times) > PER_DAY or busiest > PER_MINUTE


def few(examples):
    """Return settings for examples that cost a second or more each: always the same few."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a smaller example would take minutes to find
        suppress_health_check=list(HealthCheck),
    )


def test_every_event_is_rejected_excluded_or_accepted_as_plain_python_says(spark, tmp_path_factory):
    seen = set()

    @few(15)
    @given(files=deliveries())
    def check(files):
        logs = tmp_path_factory.mktemp("logs")
        write(logs, files)
        bronze, verdicts = judged(spark, logs)
        violations = Counter()
        for n, rows in enumerate(files):
            place = f"lab/interactions/dt={DAYS[n // 2]}/part-{n % 2}.parquet"
            for raw in rows:
                violations.update((place, action, tuple(r)) for action, r in expected_violations(raw, DAYS[n // 2]))
        assert Counter((r["source_file"], r["action"], tuple(r["violations"])) for r in bronze) == violations
        passing = [row for row in bronze if not row["violations"]]
        ours = Counter((*told(row), tuple(row["reasons"]), row["winner_event_id"]) for row in verdicts)
        assert ours == Counter(expected_verdicts(passing))
        assert all(row["reason"] == (row["reasons"] or [None])[0] for row in verdicts)
        for day in DAYS:
            rejected = sum(bool(row["violations"]) for row in bronze if row["delivery_date"] == day)
            excluded = sum(bool(row["reasons"]) for row in verdicts if row["delivery_date"] == day)
            accepted = sum(not row["reasons"] for row in verdicts if row["delivery_date"] == day)
            of_day = files[DAYS.index(day) * 2] + files[DAYS.index(day) * 2 + 1]
            emitted = sum(len(EVENTS.get(raw["kind"], [""])) for raw in of_day)
            assert emitted == rejected + excluded + accepted
        seen.update(name for row in verdicts for name in row["reasons"])

    check()
    assert seen == {"duplicate", "bot", "double_tap"}


@few(5)
@given(files=deliveries(), seed=st.integers(0, 99))
def test_the_order_of_rows_and_their_partitioning_change_nothing(spark, tmp_path_factory, files, seed):
    shuffled = [random.Random(seed).sample(rows, len(rows)) for rows in files]
    found = []
    for rows, partitions in ((files, None), (shuffled, 7)):
        logs = tmp_path_factory.mktemp("logs")
        write(logs, rows)
        bronze, verdicts = judged(spark, logs, partitions)
        found.append(
            (
                Counter((*told(row), row["action"], tuple(row["violations"])) for row in bronze),
                Counter((*told(row), tuple(row["reasons"]), row["winner_event_id"]) for row in verdicts),
            )
        )
    assert found[0] == found[1]
