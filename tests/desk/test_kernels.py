"""Compiled kernels are those of the source that is there."""

import os
import shutil
from pathlib import Path

import pytest

from trading.desk.warm import is_made
from trading.settings import kernels


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    for name in (*kernels.PACKAGES, "requirements", "risk/gates"):
        shutil.copytree(kernels.BASE_DIR / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernels, "BASE_DIR", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "strategies/backtest/gating.py",  # called by the loop's kernels
        "risk/gates/concentration.py",  # its constants go into gating
        "trading/indicators/lanes.py",
        "requirements/base.txt",
    ],
)
def test_a_change_of_what_goes_into_a_kernel_is_another_folder(checkout, name):
    before = kernels.kernels_of(checkout)
    assert kernels.kernels_of(checkout) == before
    with (checkout / name).open("a") as file:
        file.write("\n# changed\n")
    after = kernels.kernels_of(checkout)
    assert after != before


def test_kernels_made_of_files_of_another_time_are_made_anew(checkout):
    """numba would not take them, and compile in whatever asks first."""
    folder = kernels.kernels_of(checkout)
    assert not is_made(folder)
    folder.mkdir(parents=True)
    (folder / kernels.MADE).write_text(kernels.place_and_time())
    assert is_made(folder)
    os.utime(checkout / "trading/indicators/lanes.py")
    assert kernels.kernels_of(checkout) == folder
    assert not is_made(folder)


def test_what_no_kernel_is_made_of_changes_nothing(checkout):
    before = kernels.fingerprint()
    (checkout / "risk/gates/session.py").write_text("# another day\n")
    (checkout / "strategies/backtest/notes.py").write_text("# nothing for numba\n")
    assert kernels.fingerprint() == before
