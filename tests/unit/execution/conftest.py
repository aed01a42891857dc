import pytest

from tests.small_desk import SmallDesk, small_desk


@pytest.fixture
def desk(db, valkey) -> SmallDesk:
    return small_desk()
