"""Finds each platform's secret key: in an environment variable, or with a credential provider of Hadoop's.

Neither way puts it into a setting, an argument or a property, which logs and event logs show.
"""

from collections.abc import Iterable, Mapping

from pyspark.sql import SparkSession

from salience.errors import SettingsError
from salience.interactions.pseudonyms import PseudonymKey
from salience.session import CREDENTIAL_PROVIDERS, find_credential

KEY_VARIABLE = "SALIENCE_PSEUDONYM_KEY_"
KEY_ALIAS = "salience.pseudonym.key."
MINIMUM_KEY_LENGTH = 16
_DEMO_KEY = "salience demo key: for trying things out, never for people's data"


def find_keys(
    spark: SparkSession, platforms: Iterable[str], env: str, variables: Mapping[str, str]
) -> dict[str, PseudonymKey]:
    """Return each platform's key, as `find_key` does, from the variables and the session's credential providers.

    Raises:
        SettingsError: a platform has no key or one that protects nobody, or a provider cannot be read.
    """
    return {p: find_key(p, env, variables, find_credential(spark, f"{KEY_ALIAS}{p}")) for p in platforms}


def find_key(platform: str, env: str, variables: Mapping[str, str], stored: str | None = None) -> PseudonymKey:
    """Return the platform's key; locally, the demo key where there is none.

    Args:
        platform: whose key it is.
        env: local or cluster.
        variables: of the environment; SALIENCE_PSEUDONYM_KEY_<PLATFORM> may hold the key.
        stored: what a credential provider holds under salience.pseudonym.key.<platform>; None for nothing.

    Raises:
        SettingsError: there is no key on a cluster, there are two, or it is too short or too well known to protect
            anybody.
    """
    variable, alias = f"{KEY_VARIABLE}{platform.upper()}", f"{KEY_ALIAS}{platform}"
    found = {variable: variables.get(variable), alias: stored}
    given = {where: text for where, text in found.items() if text is not None}
    if not given and env == "local":
        return PseudonymKey(platform, _DEMO_KEY.encode(), is_demo=True)
    if not given:
        raise SettingsError(
            f"{platform} has no pseudonym key: set the variable {variable}, or the alias {alias} of a Hadoop "
            f"credential provider ({CREDENTIAL_PROVIDERS}), to its secret key (keep it for good)"
        )
    for where, text in given.items():
        if text == _DEMO_KEY and env != "local":
            raise SettingsError(f"{where} holds the demo key, which everyone knows: set it to a secret key")
        if len(text) < MINIMUM_KEY_LENGTH:
            raise SettingsError(f"{where} is shorter than {MINIMUM_KEY_LENGTH} characters: use a longer random key")
    keys = [PseudonymKey(platform, text.encode(), is_demo=text == _DEMO_KEY) for text in given.values()]
    if keys[0] != keys[-1]:
        ids = " and ".join(key.key_id for key in keys)
        raise SettingsError(f"{variable} and the credential provider's {alias} differ ({ids}): take the wrong one away")
    return keys[0]
