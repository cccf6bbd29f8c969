"""What tests of jobs share: the feed that they clean, and processes with a session of their own."""

from collections.abc import Iterator

import pytest
from tests.feed import Platform
from tests.processes import Session


@pytest.fixture
def feed(spark, tmp_path) -> Platform:
    (tmp_path / "logs").mkdir()
    # Another name of the same logs: runs in one session would share what the session keeps of a folder's rows.
    (tmp_path / "same-logs").symlink_to(tmp_path / "logs")
    return Platform(spark, tmp_path)


@pytest.fixture(scope="module")
def sessions() -> Iterator[tuple[Session, Session]]:
    """Two processes that run jobs."""
    both = Session(), Session()
    yield both
    for session in both:
        session.close()
