from functools import cache

import pytest

from support.carried import carried, tree_of


@pytest.fixture(scope="session")
def held(tmp_path_factory):
    """Makes the model of a task that a member holds, once."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        return carried(folder, tree_of(name, folder))

    return make
