"""Erase people of one platform from every layer, and keep them from coming back.

--list names a text file with one raw id a line, on any file system that Hadoop knows. A creator's id is a person's too.
Bronze is redacted, silver, gold and models lose them, and what is delivered of them later is redacted as it comes. Run
it again with the same list whenever a run died, and after the time that the last lines name.
"""

import os
from argparse import ArgumentParser, BooleanOptionalAction
from math import inf

from salience.interactions.erasing import erase, read_list, report, require_known
from salience.interactions.keys import KEY_VARIABLE, find_keys
from salience.job import Job, run_job
from salience.sources.mapping import load_mapping
from salience.tables.audits import Audit, record
from salience.tables.pseudonym_keys import require_same_keys
from salience.tables.views import register


def main(job: Job) -> None:
    file, platform = job.arguments.list, load_mapping(job.conf_dir, job.arguments.platform).platform
    key = find_keys(job.spark, [platform], job.arguments.env, os.environ)[platform]
    job.key_ids = {platform: key.key_id}
    if key.is_demo:
        job.tell(f"warning: {platform} uses the demo pseudonym key; set {KEY_VARIABLE}{platform.upper()}")
    require_same_keys(job.warehouse, job.key_ids, job.settings.clean.attempts)
    job.say("reading the list")
    asked = read_list(job.warehouse, file, key, job.settings.clean).persist()
    if not job.arguments.allow_unknown:
        require_known(job.warehouse, file, key, asked)
    done = erase(job.warehouse, job.models, key, asked, job.settings, job.say, job.note)
    asked.unpersist()
    audits = [
        Audit(table, "rows redacted or deleted of erased people", platform, n, inf) for table, n in done.rows.items()
    ]
    for kept in done.kept:
        rule = f"files that may hold erased people, to be deleted after {kept.until:%Y-%m-%dT%H:%M:%SZ}"
        audits.append(Audit(str(kept.table), rule, platform, kept.files, inf))
    record(job.warehouse, audits)
    if job.settings.release.register_views:
        register(job.warehouse)
    for line in report(done, platform, job.settings.logs):
        job.tell(line)


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--platform", required=True, help="platform as named in conf/sources")
    parser.add_argument("--list", required=True, metavar="FILE", help="text file with one raw id a line")
    whether = {"action": BooleanOptionalAction, "default": False}
    parser.add_argument("--allow-unknown", **whether, help="record ids of which nothing is held, too")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, extra=extra))
