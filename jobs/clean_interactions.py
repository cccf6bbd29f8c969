"""Take the deliveries of an interval into bronze, and recompute in silver the event days that they touch.

A delivery that cannot be used is refused, one past a threshold is held; neither changes anything. The others are taken,
and the exit code is 2, or 3 where one is held.
"""

import os
from argparse import ArgumentParser
from datetime import timedelta
from functools import partial
from typing import Any

from salience.arguments import count_of
from salience.interactions.cleaning import Outcome, Source
from salience.interactions.keys import KEY_VARIABLE, find_keys
from salience.interactions.platform import clean_platform
from salience.interactions.thresholds import require_known_reasons
from salience.job import Job, run_job
from salience.sources import intake
from salience.sources.deliveries import Delivery
from salience.sources.fit import require_fitting
from salience.sources.mapping import SourceMapping, load_mapping
from salience.tables import ops, silver
from salience.tables.pseudonym_keys import require_same_keys
from salience.threads import side_by_side


def main(job: Job) -> None:
    require_known_reasons(job.settings.clean.thresholds)
    late = getattr(job.arguments, "late_days", 0)  # of other jobs' arguments, in run_all.py, none
    looked_at = [job.days[0] - timedelta(days=n) for n in range(late, 0, -1)] + job.days
    mappings = [load_mapping(job.conf_dir, platform) for platform in job.settings.platforms]
    for mapping in mappings:
        require_fitting(job.spark, mapping)
    keys = find_keys(job.spark, job.settings.platforms, job.arguments.env, os.environ)
    job.key_ids = {platform: key.key_id for platform, key in keys.items()}
    for platform in (platform for platform, key in keys.items() if key.is_demo):
        job.tell(f"warning: {platform} uses the demo pseudonym key; set {KEY_VARIABLE}{platform.upper()}")
    require_same_keys(job.warehouse, job.key_ids, job.settings.clean.attempts)
    for dimension in (silver.CONTENTS, silver.USERS):
        job.warehouse.ensure(dimension)  # empty for platforms that deliver none
    seen: list[Delivery] = []
    ledger: list[dict[str, Any]] = []

    def done(outcome: Outcome) -> None:
        ledger.extend(intake.ledger_rows(job.run_id, *outcome))
        seen.extend(outcome[0])

    def clean(mapping: SourceMapping) -> None:
        source = Source(job.settings.logs, mapping, keys[mapping.platform])
        clean_platform(job.warehouse, source, looked_at, job.settings.clean, job.say, job.note, done)

    try:
        side_by_side(*(partial(clean, mapping) for mapping in mappings))
    finally:
        job.warehouse.append_rows(ops.DELIVERIES, ledger)  # what was settled before a failure counts too
    for line in intake.unfinished(mappings, job.days, seen):
        job.tell(line)
    intake.require_good(job.spark, job.settings.logs, mappings, job.days, seen)


def extra(parser: ArgumentParser) -> None:
    told = "also take what came since for as many days before the first one"
    parser.add_argument("--late-days", type=count_of, default=0, metavar="N", help=told)


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
