"""The feed that tests of cleaning share."""

import pytest
from tests.feed import Platform


@pytest.fixture
def feed(spark, tmp_path) -> Platform:
    (tmp_path / "logs").mkdir()
    # Another name of the same logs: runs in one session would share what the session keeps of a folder's rows.
    (tmp_path / "same-logs").symlink_to(tmp_path / "logs")
    return Platform(spark, tmp_path)
