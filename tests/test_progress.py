import io
import re

from rich.console import Console

from salience.progress import Progress, Step

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
