"""The daily run: one UTC day's logs, from intake to a published release."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable

from spark_jobs import DAY, RELEASE, RETRIES, open_release, submit

DOC = """
Takes the logs of one UTC day into the tables and publishes a release that looks back from that day.

- **Day**: that of the data interval's start. The run for a day starts at 04:00 UTC on the next one, when its
  deliveries should be complete. To run a day by hand, give the logical date 04:00 on the day after it.
- **Release**: `open_release` reserves the id; readers see nothing until `publish_release` has audited it.
- **Failures**: a job that ends with 2 (input or settings) or 3 (a failed audit) fails at once, as it would again; all
  else is retried. Every job may run again: it replaces what it wrote. A published release is never written again, so
  to redo one, clear `open_release` and what follows it.
- **Needs**: the Spark environment's `spark-submit` first on PATH, client deploy mode (in cluster mode spark-submit
  hides a job's exit code), the connection `spark_default`, the variables of `spark_jobs.py`, and the jobs' own, such as
  `SALIENCE_WAREHOUSE` and `SALIENCE_PSEUDONYM_KEY_<PLATFORM>` (or a Hadoop credential provider that holds the keys).
"""

with DAG(
    dag_id="daily_pipeline",
    schedule=CronDataIntervalTimetable("0 4 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, 4, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    doc_md=DOC,
    tags=["salience"],
) as dag:
    day = ("--date", DAY)
    release = ("--release", RELEASE)

    clean_interactions = submit("clean_interactions", *day)
    clean_interactions >> submit("measure_audience", *day)
    clean_interactions >> submit("measure_outcomes", *day)
    (
        clean_interactions
        >> open_release()
        >> submit("build_profiles", *day, *release)
        >> submit("train_recommender", *day, *release)
        >> submit("find_candidates", *day, *release)
        >> submit("find_audiences", *day, *release)
        >> submit("train_engagement", *day, *release)
        >> submit("score_engagement", *day, *release)
        >> submit("measure_drift", *day, *release)
        >> submit("recommend", *day, *release)
        >> submit("publish_release", *release)
    )
