"""A stage for consortia of processes."""

import pytest

from support.nats_cluster import Stage


@pytest.fixture
def stage(tmp_path):
    """Makes consortia whose parties are processes, around a real broker on a free port."""
    with Stage(tmp_path) as made:
        yield made
