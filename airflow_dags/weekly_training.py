"""Every week: tune, train and judge the models; those that pass their gate are published."""

from airflow.sdk import DAG

from spark_jobs import DATED, RELEASED, open_release, operated, publish, submit, wait_for

DOC = """
Trains the recommenders and the engagement models on all up to the last Sunday, and publishes them as one release.

- **Waits** for `daily_interactions` of the week's last day.
- **Tuning**: `train_recommender` chooses its parameters on a window of its own, `train_engagement` its penalties;
  `learn_confidence` measures other weights of actions, and tells the settings that would do better. It changes nothing.
- **Gate**: an ALS takes the place of the one in force only if it is surely not worse (`recommend.gate`); where a model
  could not be trained, the last one stays in force.
- **Publishing** beside a daily run of the same day is safe: of two runs that publish at once the second builds on the
  first. Once a later day is in force, `publish_release` fails (exit 2), and the models stay unpublished: training has
  to end before the next morning's run does.
- **Failures and needs** are those of `daily_interactions`.
"""

with DAG("weekly_training", **operated("0 4 * * MON", DOC, days=7, late_after_h=12)) as dag:
    release, learned = open_release(), submit("learn_confidence", *DATED, *RELEASED)
    fitted, scoring = submit("train_recommender", *DATED, *RELEASED), submit("train_engagement", *DATED, *RELEASED)
    wait_for("daily_interactions") >> release >> [learned, fitted]
    fitted >> scoring
    jobs = ("learn_confidence", "train_recommender", "train_engagement")
    [learned, scoring] >> publish(*jobs, only_the_newest=False)
