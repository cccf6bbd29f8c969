"""Every day: what to show whom, by the models in force, published as one release."""

from airflow.sdk import DAG

from spark_jobs import DATED, RELEASED, open_release, operated, publish, submit, wait_for

DOC = """
Finds candidates and audiences, scores engagement, ranks, and publishes all of it as one release.

- **Waits** for `daily_interactions` of the same interval. Where that fails, mend and clear it there: this run goes on
  by itself, within half a day.
- **Models** are those in force: the last that `weekly_training` published. Without any, finding candidates ends with 2:
  run `weekly_training` once first.
- **Drift** of the engagement model is measured, told and recorded in `ops.audits`; it stops nothing.
- **Backfill** one day at a time together with `daily_interactions`: lists of an earlier day than the one in force stay
  unpublished.
- **Failures, release and needs** are those of `daily_interactions`.
"""

with DAG("daily_recommendations", **operated("0 4 * * *", DOC, late_after_h=6)) as dag:
    release = open_release()
    recommend, scored = submit("recommend", *DATED, *RELEASED), submit("score_engagement", *DATED, *RELEASED)
    wait_for("daily_interactions") >> release >> submit("find_candidates", *DATED, *RELEASED) >> scored >> recommend
    release >> submit("find_audiences", *DATED, *RELEASED) >> recommend
    scored >> submit("measure_drift", *DATED, *RELEASED) >> recommend
    recommend >> publish("find_candidates", "find_audiences", "score_engagement", "measure_drift", "recommend")
