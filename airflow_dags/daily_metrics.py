"""Every day: measure contents, the audience and what recommendations led to, and check KPIs."""

from airflow.sdk import DAG

from spark_jobs import DATED, clean_task, operated, platforms, submit, wait_for

DOC = """
Measures the day that `daily_interactions` has taken, and every other day whose input changed since it was measured.

- **Waits** until `daily_interactions` has cleaned the same interval. Where that fails, mend and clear it there: this
  run goes on by itself, within half a day.
- **Readers** see the days at once: these tables belong to no release. Each is audited before it is written.
- **KPIs**: `check_kpis` fails, and people are told, where a figure moved further than `conf/kpis.yaml` allows, or is
  gone; `ops.audits` says which, by how much and where. Nothing waits for it. Mark it as success once it is explained,
  or clear it once the day has been mended and measured again.
- **Failures and needs** are those of `daily_interactions`.
"""

with DAG("daily_metrics", **operated("0 4 * * *", DOC, late_after_h=6)) as dag:
    cleaned = wait_for("daily_interactions", [*map(clean_task, platforms())])
    measured = [submit("measure_audience", *DATED), submit("measure_outcomes", *DATED)]
    cleaned >> measured >> submit("check_kpis", *DATED, "--gate")
