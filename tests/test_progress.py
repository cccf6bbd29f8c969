import io
import json
import re

from rich.console import Console

from salience.errors import one_line
from salience.progress import JsonProgress, Progress, Step

STEP = Step("publish", "a run")


def told_on(*, terminal):
    """Return what a step left on a console after it ended."""
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=terminal, highlight=False, soft_wrap=True, width=80))
    progress.begin(STEP)
    progress.say(STEP, "auditing")
    progress.tell(STEP, "published 2026-11-14.1")
    progress.say(STEP, "tidying up")
    progress.end(STEP, 1.25, {"gold.recommendations": 1200, "ops.audits": 3})
    return out.getvalue()


def test_without_a_terminal_every_line_is_printed():
    assert told_on(terminal=False).splitlines() == [
        "publish ...",
        "publish: auditing",
        "publish: published 2026-11-14.1",
        "publish: tidying up",
        "publish: 1.2 s; rows: gold.recommendations 1,200",
    ]


def test_on_a_terminal_what_was_told_stays_on_a_line_of_its_own():
    lines = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|\r", "\n", told_on(terminal=True)).splitlines()
    assert {"publish: published 2026-11-14.1", "publish: 1.2 s; rows: gold.recommendations 1,200"} <= set(lines)
    assert "publish: auditing" not in lines


def told_as_json(capsys, tell):
    progress = JsonProgress()
    tell(progress)
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_for_machines_every_line_says_when_who_and_what(capsys):
    def tell(progress):
        progress.begin(STEP)
        progress.say(STEP, "auditing")
        progress.end(STEP, 1.25, {"gold.recommendations": 1200})

    lines = told_as_json(capsys, tell)
    assert [(line["level"], line["msg"]) for line in lines] == [
        ("INFO", "begun"),
        ("INFO", "auditing"),
        ("INFO", "succeeded"),
    ]
    assert {line["logger"] for line in lines} == {"salience.publish"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"]) for line in lines)
    who = {"job": "publish", "run_id": "a run"}
    assert [line["context"] for line in lines] == [
        who,
        who,
        who | {"seconds": "1.2", "rows gold.recommendations": "1200"},
    ]


FAILS = "[CAST_INVALID_INPUT] The value 'Ann\nLee' of the type \"STRING\" cannot be cast. SQLSTATE: 22018 == SQL =="


def failing(progress):
    try:
        raise ValueError(FAILS)
    except ValueError as error:
        progress.fail(STEP, f"unexpected: {one_line(error)}", error)


def test_an_unexpected_error_is_told_with_its_traceback_and_without_the_value_that_it_names(capsys):
    failing(Progress())
    err = capsys.readouterr().err
    assert "Traceback" in err and "in failing" in err
    assert err.splitlines()[-1] == (
        "publish: unexpected: ValueError: [CAST_INVALID_INPUT] (value not shown) SQLSTATE: 22018 == SQL =="
    )
    (line,) = told_as_json(capsys, failing)
    assert (line["level"], line["exception"]["class"]) == ("ERROR", "ValueError")
    assert line["exception"]["stacktrace"][-1]["method"] == "failing"
    assert "Ann" not in err + json.dumps(line) and "Lee" not in err + json.dumps(line)
