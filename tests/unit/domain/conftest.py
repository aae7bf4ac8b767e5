"""The shared checks of the domain explain their failures as tests do."""

import pytest

pytest.register_assert_rewrite("tests.support.domain", "tests.support.pots")
