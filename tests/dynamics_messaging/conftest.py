"""The organisation that this folder's tests work in."""

from collections.abc import Iterator

import pytest

from tests.dynamics_messaging.organisation import Organisation


@pytest.fixture
def org() -> Iterator[Organisation]:
    """An organisation on its ports."""
    made = Organisation().start()
    yield made
    made.stop()
