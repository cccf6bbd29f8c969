"""Who is left out because they refuse, as of a cut.

A person who refuses analysis or personalisation is in no model that is trained as of that day or later (nothing of
what they ever did is learnt from, or judged on), and gets no personalised output: lists of what is popular, no scores,
no reasons. Who refuses analysis has no profile either. A refusal holds from the start of the day whose delivery brings
it: models and lists as of an earlier day keep the person, and a later consent brings all of their past back.

What is counted about contents and audiences (daily facts, content profiles, the popularity that fills lists) keeps what
people did while they consented, for it tells of nobody in particular; what people who refuse analysis do meanwhile is
excluded by a day rule (`consent`) and counts nowhere. Nobody is shown again what they have seen, whatever they refuse.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

ANALYSIS, PERSONALISATION = "consent_analysis", "consent_personalised"
"""What a person may refuse: the columns of silver.users that hold the answer, null where nobody asked."""
BOTH = (ANALYSIS, PERSONALISATION)

_PERSON = ["platform", "user_id"]


def refusing(users: DataFrame, cut: datetime, consents: Sequence[str] = BOTH) -> DataFrame:
    """Return the people whose newest answer before `cut` refuses any of these: platform, user_id.

    Args:
        users: rows of silver.users, with their history.
        cut: answers from this time on are not known yet; UTC.
        consents: ANALYSIS, PERSONALISATION or both.
    """
    known = users.where(F.col("valid_from") < F.lit(cut)).groupBy(*_PERSON)
    newest = known.agg(F.max_by(F.struct(*consents), "valid_from").alias("newest"))
    refuses = reduce(or_, (F.coalesce(~F.col(f"newest.{name}"), F.lit(False)) for name in consents))
    return newest.where(refuses).select(*_PERSON)


def without_refusing(rows: DataFrame, users: DataFrame, cut: datetime, consents: Sequence[str] = BOTH) -> DataFrame:
    """Return the rows (with platform, user_id) that are not of people who are `refusing`."""
    return rows.join(refusing(users, cut, consents), _PERSON, how="left_anti")
