"""Every day: take the day's logs, a platform at a time, then publish profiles that know them."""

from airflow.sdk import DAG

from spark_jobs import DATED, RELEASED, clean_task, open_release, operated, platforms, publish, submit

DOC = """
Takes one UTC day's logs into the tables, each platform by itself, and publishes the profiles of people and contents.

- **Day**: the last day of the data interval. The run for a day starts at 04:00 UTC on the next one, when its
  deliveries should be complete; a platform that delivered no interactions of it fails. What came late for the seven
  days before is taken, too.
- **Release**: `open_release` reserves the id; readers see nothing until `publish_release` has audited it.
- **Failures**: a job that ends with 2 (input or settings) or 3 (a failed audit) fails at once, as it would again; all
  else is retried. Every job may run again: it replaces what it wrote. A published release is never written again, so
  to redo one, clear `open_release` and what follows it. Where a later day is in force already, the day's tables are
  there and its profiles stay unpublished.
- **Needs**: the Spark environment's `spark-submit` first on PATH, client deploy mode (in cluster mode spark-submit
  hides a job's exit code), the connection `spark_default`, the pool `salience`, the variables of `spark_jobs.py`, and
  the jobs' own, such as `SALIENCE_WAREHOUSE` and `SALIENCE_PSEUDONYM_KEY_<PLATFORM>` (or a Hadoop credential provider
  that holds the keys).
"""

with DAG("daily_interactions", **operated("0 4 * * *", DOC, late_after_h=4)) as dag:
    late = ("--late-days", "7")
    cleaned = [
        submit("clean_interactions", *DATED, *late, "--set", f"platforms=[{name}]", task_id=clean_task(name))
        for name in platforms()
    ]
    cleaned >> open_release() >> submit("build_profiles", *DATED, *RELEASED) >> publish("build_profiles")
