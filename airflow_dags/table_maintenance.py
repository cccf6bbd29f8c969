"""Every day: delete what is kept no longer, and put small files together."""

from airflow.sdk import DAG

from spark_jobs import DATED, operated, submit

DOC = """
Keeps tables small and fast, while they are read and written. Its tasks do not need one another.

- `apply_retention` deletes the days that `retention` keeps no longer.
- `delete_old_releases` deletes snapshots and models of releases that have not been in force for
  `release.retention_days`; never one that the newest row of `ops.releases` names.
- `compact_tables` puts small files together and deletes those that no table has used for
  `erasure.vacuum_retention_hours`. A reader that began before keeps its files that long.
- **Failures and needs** are those of `daily_interactions`.
"""

with DAG("table_maintenance", **operated("0 12 * * *", DOC, late_after_h=12)) as dag:
    for job in ("apply_retention", "delete_old_releases", "compact_tables"):
        submit(job, *DATED)
