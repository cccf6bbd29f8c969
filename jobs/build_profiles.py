"""Describe each person and each content as of the interval's last day: gold.user_profiles and gold.content_profiles.

People who refuse analysis as of that day have no profile; what they did while they consented counts in the contents'.
"""

from salience.job import Job, run_job
from salience.profiles.consent import ANALYSIS, without_refusing
from salience.profiles.contents import content_profiles
from salience.profiles.people import user_profiles
from salience.recommend.split import end_of
from salience.tables import profiles, silver


def main(job: Job) -> None:
    settings = job.settings
    interactions, contents = job.read_past(), job.read(silver.CONTENTS)
    job.say(f"describing people as of {job.as_of}")
    people = user_profiles(
        without_refusing(interactions, job.read(silver.USERS), end_of(job.as_of), [ANALYSIS]),
        contents,
        job.as_of,
        settings.profiles,
        action_weights=settings.recommend.action_weights,
        rating_scale_max=settings.recommend.rating_scale_max,
    )
    job.write_snapshot(profiles.USER_PROFILES, people)
    job.say(f"describing contents as of {job.as_of}")
    described = content_profiles(
        interactions, contents, job.as_of, settings.profiles, positive_actions=settings.metrics.positive_actions
    )
    job.write_snapshot(profiles.CONTENT_PROFILES, described)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
