"""By hand: erase people of one platform from every layer."""

from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

from spark_jobs import operated, platforms, submit

DOC = """
Erases the people that a text file lists, one raw id a line, from bronze, silver, gold and the models, for good.

- **Start it by hand** with the platform and the file; type the platform's name again, and say that you mean it.
- **Afterwards** readers see nothing of these people. Old files stay for `erasure.vacuum_retention_hours`: run it again
  with the same list after the time that its log tells.
- A run that died is repeated with the same list. Ids of which nothing is held stop it (exit 2), unless allowed.
- **Needs** are those of `daily_interactions`.
"""

PARAMS = {
    "platform": Param(type="string", enum=[*platforms()], title="Platform"),
    "list": Param(type="string", minLength=1, title="File of raw ids", description="on any file system Hadoop knows"),
    "allow_unknown": Param(False, type="boolean", title="Record ids of which nothing is held, too"),
    "platform_again": Param(type="string", title="The platform's name again"),
    "cannot_be_undone": Param(False, type="boolean", title="I know that this cannot be undone"),
}


@task(retries=0)
def confirm(params: dict) -> None:
    """Fail unless the person who started it said twice what they want."""
    if not params["cannot_be_undone"]:
        raise AirflowFailException("nothing was erased: say that you know that it cannot be undone")
    if params["platform_again"] != params["platform"]:
        raise AirflowFailException(f"nothing was erased: {params['platform_again']} is not {params['platform']}")


with DAG("erase_users", **operated(None, DOC), params=PARAMS) as dag:
    named = ("--platform", "{{ params.platform }}", "--list", "{{ params.list }}")
    confirm() >> submit("erase_users", *named, "--{{ '' if params.allow_unknown else 'no-' }}allow-unknown")
