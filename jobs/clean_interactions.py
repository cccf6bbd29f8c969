"""Take the deliveries of an interval into bronze, and recompute in silver the event days that they touch.

A delivery that cannot be used is refused and changes nothing; the others are taken, and the exit code is 2.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from salience.interactions.bronze_rows import bronze_rows
from salience.interactions.cleaning import settle
from salience.interactions.pseudonyms import KEY_VARIABLE, find_key
from salience.job import Job, run_job, side_by_side
from salience.sources import intake
from salience.sources.deliveries import Delivery
from salience.sources.mapping import BRONZE_TABLES, Dataset, SourceMapping, load_mapping
from salience.tables import ops, silver


def main(job: Job) -> None:
    mappings = [load_mapping(job.conf_dir, platform) for platform in job.settings.platforms]
    keys = {m.platform: find_key(m.platform, job.arguments.env, os.environ) for m in mappings}
    job.key_ids = {platform: key.key_id for platform, key in keys.items()}
    for platform in (platform for platform, key in keys.items() if key.is_demo):
        job.tell(f"warning: {platform} uses the demo pseudonym key; set {KEY_VARIABLE}{platform.upper()}")
    for dimension in (silver.CONTENTS, silver.USERS):
        job.warehouse.ensure(dimension)  # empty for platforms that deliver none
    seen: list[Delivery] = []
    ledger: list[dict[str, Any]] = []

    def clean(mapping: SourceMapping) -> None:
        platform, key = mapping.platform, keys[mapping.platform]
        for dataset in mapping.datasets:
            job.say(f"taking {platform}/{dataset} into bronze")
            found = intake.look_at_deliveries(job.spark, job.settings.logs, mapping, dataset, job.days)

            def write(deliveries: Sequence[Delivery], dataset: Dataset = dataset) -> None:
                rows = bronze_rows(job.spark, mapping, dataset, key, deliveries, job.settings.clean)
                where = {"platform": [platform], "delivery_date": [delivery.day for delivery in deliveries]}
                job.write_partitions(BRONZE_TABLES[dataset], rows, where)

            outcomes = intake.take(found, write)
            days = [delivery.day for delivery in outcomes if delivery.state == "taken"]
            job.say(f"settling {platform}/{dataset} in silver")
            counts = settle(job.warehouse, dataset, key, days, job.settings.clean, job.note)
            ledger.extend(intake.ledger_rows(job.run_id, outcomes, counts))
            seen.extend(outcomes)

    try:
        side_by_side(*(partial(clean, mapping) for mapping in mappings))
    finally:
        job.warehouse.append_rows(ops.DELIVERIES, ledger)  # what was settled before a failure counts too
    for line in intake.unfinished(mappings, job.days, seen):
        job.tell(line)
    intake.require_none_refused(seen)
    intake.require_some(job.spark, job.settings.logs, mappings, job.days, seen)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
