from __future__ import annotations

import pytest

from lowtide.console import _warnings_shown_once


def test_a_warning_is_shown_once_however_often_it_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    show = _warnings_shown_once()
    for warning in (UserWarning("low"), UserWarning("tide"), UserWarning("low")):
        show(warning, UserWarning, "file.py", 1)
    assert capsys.readouterr().err == "warning: low\nwarning: tide\n"
