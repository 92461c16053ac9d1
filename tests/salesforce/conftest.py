"""The org that this folder's tests work in."""

from collections.abc import Iterator

import pytest

from tests.salesforce.org import Org


@pytest.fixture
def org() -> Iterator[Org]:
    """An org on its port."""
    made = Org()
    made.server.start()
    yield made
    made.stop()
