"""The short form of ./dev chaos."""

import chaos


def test_nothing_is_lost_wrong_or_resurrected(tmp_path):
    assert chaos.run(tmp_path, 0.6) == []
