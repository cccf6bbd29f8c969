"""Corrupt and hostile input: a delivery is refused and its file named, or its rows are rejected with their reasons.

One run cleans a day for each case: a good file, the hostile one beside it, and good days around them.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.hostile import TYPES, Lab, deliver, event, table

pytestmark = pytest.mark.integration

MEGABYTE = "x" * 1_000_000


def parquet(day, **options):
    """Return the bytes of a good file of forty events, and what its footer says."""
    written = io.BytesIO()
    pq.write_table(table([event(f"x{n}", day, who=f"w{n % 9}", gadget="phone") for n in range(40)]), written, **options)
    return written.getvalue(), pq.read_metadata(written)


def flipped(whole, place, bit=3):
    return whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def footer_of(whole):
    """Return where the footer begins."""
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def flipped_row_count(day):
    """Return a file whose footer counts fewer rows than it has: whoever believes it loses the others without a word."""
    whole, _ = parquet(day)
    for place in range(footer_of(whole), len(whole) - 8):
        try:
            bad = flipped(whole, place, bit=6)
            if 0 < pq.read_metadata(io.BytesIO(bad)).row_group(0).num_rows < 40:
                return bad
        except (OSError, pa.ArrowException):
            pass
    raise AssertionError("no such byte")


def flipped_in_column(day, where, bit=3, **options):
    """Return a file with a bit flipped in its first column; `where` finds the byte, by the column's metadata."""
    whole, metadata = parquet(day, **options)
    return flipped(whole, where(metadata.row_group(0).column(0)), bit)


def middle_of_page(column):
    return column.data_page_offset + column.total_compressed_size * 2 // 3


def first_length_in_dictionary(column):
    """Return the high byte of the first text's length: the 36 letters end before the page with the data begins."""
    return column.dictionary_page_offset + 14


def not_utf8(day):
    rows = table([event("bad", day), event("fine", day)])
    who = pa.array([b"\xff\xfe", b"good"], pa.binary()).view(pa.string())
    return rows.set_column(rows.schema.get_field_index("who"), "who", who)


def twice(day, name):
    rows = table([event("x", day)])
    return rows.append_column(name, rows["who"])


def with_added_field(day):
    more = pa.struct([*TYPES["ctx"], pa.field("more", pa.string())])
    ctx = pa.array([{"page": "r1", "slot": 1, "more": "new"}], more)
    rows = table([event("more", day)])
    return rows.set_column(rows.schema.get_field_index("ctx"), "ctx", ctx)


@dataclass(frozen=True)
class Case:
    """What lies in part-1.parquet (rows, a table or bytes, by the day), and what becomes of it."""

    name: str
    content: Callable[[str], list | pa.Table | bytes]
    refused: str | None = None
    """What the delivery's problem says of the file."""
    rejected: Mapping[str, list[str]] = field(default_factory=dict)
    """Name of the event -> reasons."""
    excluded: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()


def rows_case(name, /, rejected=None, accepted=(), excluded=(), **changes):
    """Return a case of events that differ from a usual one in `changes`: name of the event -> (column, value)."""

    def content(day):
        return [event(name, day, **{column: value}) for name, (column, value) in changes.items()]

    return Case(name, content, None, {n: [reason] for n, reason in (rejected or {}).items()}, excluded, accepted)


END = "it cannot be read to its end: "
CASES = (
    rows_case(
        "29 February of a leap year and of another",
        leap=("at", "2024-02-29T23:59:59Z"),
        none=("at", "2023-02-29T10:00:00Z"),
        rejected={"none": "unparseable_time"},
        accepted=("leap",),
    ),
    Case("cut in half", lambda day: parquet(day)[0][:2000], "is not a Parquet file"),
    Case("a piece cut out of its middle", lambda day: parquet(day)[0][:200] + parquet(day)[0][300:], "part-1.parquet"),
    rows_case(
        "texts of one megabyte",
        long_id=("id", MEGABYTE),
        long_text=("gadget", MEGABYTE),
        rejected={None: "malformed_id"},  # silver shows no malformed event id
        accepted=("long_text",),
    ),
    Case("flipped bit: the footer's first byte", lambda day: flipped(w := parquet(day)[0], footer_of(w)), "its footer"),
    Case(
        "flipped bit: a column's name in the footer",
        lambda day: flipped(w := parquet(day)[0], w.index(b"who", footer_of(w))),
        "its footer",
    ),
    Case("flipped bit: the footer's length", lambda day: flipped(w := parquet(day)[0], len(w) - 7), "its footer"),
    Case("flipped bit: a row group's count of rows", flipped_row_count, "its footer contradicts itself"),
    Case("not UTF-8", not_utf8, rejected={"bad": ["invalid_utf8"]}, accepted=("fine",)),
    Case(
        "flipped bit: a page's header",
        lambda day: flipped_in_column(day, lambda column: column.data_page_offset, use_dictionary=False),
        END,
    ),
    Case(
        "flipped bit: a page compressed by gzip",
        lambda day: flipped_in_column(day, middle_of_page, use_dictionary=False, compression="gzip"),
        END,
    ),
    Case(
        "flipped bit: a page compressed by snappy, with a checksum",
        lambda day: flipped_in_column(day, middle_of_page, use_dictionary=False, write_page_checksum=True),
        END,
    ),
    Case(
        "flipped bit: a plain page, with a checksum",
        lambda day: flipped_in_column(
            day, middle_of_page, use_dictionary=False, compression="none", write_page_checksum=True
        ),
        END,
    ),
    Case(
        "flipped bit: a length in a dictionary",
        lambda day: flipped_in_column(day, first_length_in_dictionary, compression="none"),
        END,
    ),
    rows_case(
        "NaN and infinity",
        **{
            f"{column}_{text}".replace("-", "minus_"): (column, float(text))
            for column in ("money", "score", "watched", "chance")
            for text in ("nan", "inf", "-inf")
        },
        rejected={
            f"{column}_{text}": reason
            for column, reason in (
                ("money", "absurd_value"),
                ("score", "absurd_rating"),
                ("watched", "absurd_dwell"),
                ("chance", "absurd_propensity"),
            )
            for text in ("nan", "inf", "minus_inf")
        },
    ),
    Case("zero bytes", lambda day: b"", "is empty (0 bytes)"),
    Case("a CSV file", lambda day: b"id,who,body\n" * 9, "is not a Parquet file"),
    Case("rubbish between the marks of Parquet", lambda day: b"PAR1" + bytes(range(256)) * 4 + b"PAR1", "its footer"),
    rows_case(
        "years 0001, 9999 and 10000",
        first=("at", "0001-01-01T00:00:00Z"),
        last=("at", "9999-12-31T23:59:59Z"),
        beyond=("at", "10000-01-01T00:00:00Z"),
        rejected={"first": "too_late", "last": "future_event", "beyond": "future_event"},
    ),
    Case("a column twice", lambda day: twice(day, "who"), "its schema cannot be read"),
    Case("a column twice, in capitals", lambda day: twice(day, "WHO"), "its schema cannot be read"),
    rows_case(
        "times that are none",
        hour_24=("at", "2024-03-01T24:00:00Z"),
        second_60=("at", "2024-03-01T23:59:60Z"),
        no_date=("at", "10:00"),
        now=("at", "now"),
        blank=("at", ""),
        null=("at", None),
        rejected={
            **dict.fromkeys(("hour_24", "second_60", "no_date", "now", "blank"), "unparseable_time"),
            "null": "missing_time",
        },
    ),
    rows_case(
        "JSON that is cut, or of another shape",
        cut=("body", '{"item": "p1'),
        list=("body", '["p1"]'),
        null=("body", '{"item": null}'),
        number=("body", '{"item": 7}'),
        rejected=dict.fromkeys(("cut", "list", "null"), "missing_content_id"),
        accepted=("number",),
    ),
    rows_case(
        "ids with control characters and blanks",
        zero=("who", "a\x00b"),
        line=("who", "a\nb"),
        blank=("who", " a"),
        empty=("who", ""),
        emoji=("who", "\U0001f600"),
        rejected=dict.fromkeys(("zero", "line", "blank", "empty"), "malformed_id"),
        accepted=("emoji",),
    ),
    Case("a nested field more", with_added_field, accepted=("more",)),
    Case(
        "a row twice",
        lambda day: [event("same", day), event("same", day)],
        excluded=("same",),
        accepted=("same",),
    ),
    Case("no rows", lambda day: []),
)
BEFORE = date(2024, 2, 29)
DAYS = {case.name: BEFORE + timedelta(days=n) for n, case in enumerate(CASES, 1)}
AFTER = BEFORE + timedelta(days=len(CASES) + 1)


def good_rows(day):
    """Return two good events of a delivery; one of them lies on the day before."""
    return [event("good", day), event("late", day, at=f"{day - timedelta(days=1)}T12:00:00Z")]


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    """The run over all cases."""
    lab = Lab(tmp_path_factory.mktemp("hostile"), spark)
    for day in (BEFORE, AFTER):
        deliver(lab.logs, day, good_rows(day))
    for case in CASES:
        deliver(lab.logs, DAYS[case.name], good_rows(DAYS[case.name]), case.content(str(DAYS[case.name])))
    return lab.clean(BEFORE, AFTER)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.refused], ids=lambda case: case.name)
def test_a_file_that_cannot_be_trusted_stops_its_delivery_by_name(run, case):
    day = DAYS[case.name]
    assert run.ledger[day]["state"] == "refused"
    problem = run.ledger[day]["problem"]
    assert problem.startswith("part-1.parquet") and case.refused in problem and len(problem.splitlines()) == 1
    tables = (run.bronze_rows, run.rejected, run.excluded, run.accepted)
    assert [table.get(day) for table in tables] == [None] * 4


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.refused], ids=lambda case: case.name)
def test_a_row_that_cannot_be_believed_is_rejected_with_its_reason(run, case):
    day = DAYS[case.name]
    assert (run.ledger[day]["state"], run.ledger[day]["problem"]) == ("taken", None)
    named = {name and f"{day} {name}": reasons for name, reasons in case.rejected.items()}
    assert dict(run.rejected.get(day, [])) == named
    assert run.excluded.get(day, []) == [f"{day} {name}" for name in case.excluded]
    assert sorted(run.accepted[day]) == sorted(f"{day} {name}" for name in ("good", "late", *case.accepted))
    counts = {name: run.ledger[day][name] for name in ("emitted", "rejected", "excluded", "accepted")}
    assert counts == {
        "emitted": run.rows_in_files(day),
        "rejected": len(case.rejected),
        "excluded": len(case.excluded),
        "accepted": 2 + len(case.accepted),
    }
    assert (run.bronze_rows[day], run.lost(day)) == (run.rows_in_files(day), 0)


@pytest.mark.slow
def test_good_days_beside_refused_ones_are_whole_and_the_exit_code_tells(run):
    assert run.code == 2
    for day in (BEFORE, AFTER):
        assert sorted(run.accepted[day]) == [f"{day} good", f"{day} late"] and run.lost(day) == 0
    assert set(run.ledger) == {BEFORE, AFTER, *DAYS.values()}


@pytest.mark.slow
def test_a_field_that_the_mapping_does_not_know_is_recorded(run):
    day = DAYS["a nested field more"]
    added = [place for rule, place in run.audits if rule == "columns that the mapping does not know: ctx.more"]
    assert added == [f"hostile/interactions/dt={day}"]


@pytest.mark.slow
@pytest.mark.trial
def test_one_bad_row_of_a_million_is_the_only_one_rejected(spark, tmp_path):
    lab, day, rows = Lab(tmp_path, spark), date(2024, 3, 1), 1_000_000
    seconds = [f"{day}T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(86_400)]
    columns = {name: pa.nulls(rows, type_) for name, type_ in TYPES.items()}
    columns |= {
        "id": pa.array([f"e{n}" for n in range(rows)]),
        "who": pa.array([f"w{n % 50_000}" if n != 654_321 else None for n in range(rows)]),
        "body": pa.array([f'{{"item": "p{n % 100}"}}' for n in range(rows)]),
        "act": pa.array(["like"] * rows),
        "at": pa.array([seconds[n * 7 % 86_400] for n in range(rows)]),
    }
    deliver(lab.logs, day, pa.table(columns, schema=pa.schema(list(TYPES.items()))))
    found = lab.clean(day, day, "--set", "clean.double_tap.seconds=0")
    assert (found.code, found.rejected) == (0, {day: [("e654321", ["missing_user_id"])]})
    assert (len(set(found.accepted[day])), found.excluded, found.lost(day)) == (999_999, {}, 0)


@pytest.mark.slow
@pytest.mark.trial
def test_two_thousand_tiny_files_lose_no_row(spark, tmp_path):
    lab, day = Lab(tmp_path, spark), date(2024, 3, 1)
    deliver(lab.logs, day, *([event(f"x{n}", day)] for n in range(2000)))
    found = lab.clean(day, day)
    assert (found.code, found.ledger[day]["files"]) == (0, 2000)
    assert sorted(found.accepted[day]) == sorted(f"{day} x{n}" for n in range(2000))
    assert found.lost(day) == 0
