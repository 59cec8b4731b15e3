"""An acceptance on CUDA judges figures within and outside their bounds."""

import json
from pathlib import Path

import pytest

from benchmarks.cuda_check import judge


def test_a_figure_outside_of_its_bounds_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"convolution error float32": 1e-3, "gradient error tf32": 1e-3}
    (tmp_path / "check.json").write_text(json.dumps(figures))
    assert judge(tmp_path, rehearse=False) == 1
    said = capsys.readouterr().out
    assert "OUTSIDE  convolution error float32" in said
    assert "ok       gradient error tf32" in said
    assert "missing  copy TB/s" in said
    assert judge(tmp_path, rehearse=True) == 0
