"""Take the deliveries of an interval into bronze, and recompute in silver the event days that they touch.

A delivery that cannot be read, or that its mapping does not fit, is refused and changes nothing; the others are taken,
and the job ends with exit code 2.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from salience.interactions.cleaning import settle
from salience.interactions.pseudonyms import KEY_VARIABLE, find_key
from salience.interactions.row_rules import judge
from salience.job import Job, run_job, side_by_side
from salience.sources.deliveries import Delivery
from salience.sources.intake import ledger_rows, look_at_deliveries, require_none_refused, require_some, take
from salience.sources.mapping import BRONZE_TABLES, Dataset, SourceMapping, load_mapping
from salience.sources.typed import RAW, typed_rows
from salience.tables import ops, silver


def main(job: Job) -> None:
    mappings = [load_mapping(job.conf_dir, platform) for platform in job.settings.platforms]
    keys = {m.platform: find_key(m.platform, job.arguments.env, os.environ) for m in mappings}
    job.key_ids = {platform: key.key_id for platform, key in keys.items()}
    for platform in (platform for platform, key in keys.items() if key.is_demo):
        job.say(f"warning: {platform} uses the demo pseudonym key; set {KEY_VARIABLE}{platform.upper()}")
    for dimension in (silver.CONTENTS, silver.USERS):
        job.warehouse.ensure(dimension)  # empty for platforms that deliver none
    seen: list[Delivery] = []
    ledger: list[dict[str, Any]] = []

    def clean(mapping: SourceMapping) -> None:
        for dataset in mapping.datasets:
            job.say(f"taking {mapping.platform}/{dataset} into bronze")
            found = look_at_deliveries(job.spark, job.settings.logs, mapping, dataset, job.days)
            outcomes = take(found, partial(write_bronze, job, mapping, dataset))
            days = [delivery.day for delivery in outcomes if delivery.state == "taken"]
            job.say(f"settling {mapping.platform}/{dataset} in silver")
            counts = settle(job.warehouse, dataset, keys[mapping.platform], days, job.settings.clean, job.note)
            ledger.extend(ledger_rows(job.run_id, outcomes, counts))
            seen.extend(outcomes)

    try:
        side_by_side(*(partial(clean, mapping) for mapping in mappings))
    finally:
        job.warehouse.append_rows(ops.DELIVERIES, ledger)  # what was settled before a failure counts too
    require_some(job.spark, job.settings.logs, mappings, job.days, seen)
    require_none_refused(seen)


def write_bronze(job: Job, mapping: SourceMapping, dataset: Dataset, deliveries: Sequence[Delivery]) -> None:
    rows = judge(typed_rows(job.spark, mapping, dataset, deliveries), dataset, RAW, job.settings.clean)
    where = {"platform": [mapping.platform], "delivery_date": [delivery.day for delivery in deliveries]}
    job.write_partitions(BRONZE_TABLES[dataset], rows, where)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
