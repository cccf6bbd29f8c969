"""Check whether KPIs moved further than the rules in kpis.yaml (in the folder of the settings) allow.

Each rule compares a figure of the last days up to the as-of day with as many days before, on each platform. What moved
too far, or is gone, is a failed audit in ops.audits; with --gate the job then ends with exit code 3. Reads the day
tables of gold that the rules name.
"""

from argparse import ArgumentParser
from functools import reduce
from math import inf

from pyspark.sql import DataFrame

from salience.errors import AuditError
from salience.job import Job, run_job
from salience.metrics.kpi_rules import by_table, load_rules
from salience.metrics.kpis import audits, kpis


def main(job: Job) -> None:
    rules, platforms = load_rules(job.conf_dir), job.settings.platforms
    found = (kpis(job.read(table), of, platforms, job.as_of) for table, of in by_table(rules))
    checked = audits(reduce(DataFrame.unionByName, found), rules, job.as_of)
    job.check(checked, gate=False)
    for audit in checked:
        if audit.threshold == inf:
            job.tell(f"{audit.rule}: {audit.observed:g} in {audit.place}")
    failed = [str(audit) for audit in checked if not audit.passed]
    if job.arguments.gate and failed:
        raise AuditError(f"{len(failed)} KPI alarms: {'; '.join(failed)}")


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--gate", action="store_true", help="end with exit code 3 if a KPI moved too far")


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
