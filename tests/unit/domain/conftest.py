"""The shared checks of the domain explain their failures as tests do; no example is judged by its time."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.support.domain", "tests.support.pots")
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
