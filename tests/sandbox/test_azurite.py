"""Azurite starts on ports of its own, holds what the SDKs put in, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from azure.data.tables import TableServiceClient

from sandbox.azurite import Azurite, AzuriteError

ROOT = Path(__file__).resolve().parents[2]


def test_two_can_run_side_by_side() -> None:
    """A second one takes other ports, and each has its own tables."""
    with Azurite() as first, Azurite() as second:
        assert not set(first.ports.values()) & set(second.ports.values())
        for azurite, name in ((first, "first"), (second, "second")):
            with TableServiceClient.from_connection_string(azurite.connection_string) as client:
                client.create_table(name)
                assert [table.name for table in client.list_tables()] == [name]


def test_stop_ends_the_process() -> None:
    """After stop the process is gone, and stopping again does nothing."""
    azurite = Azurite(usual_ports=False).start()
    pid = azurite.pid
    azurite.stop()
    assert not psutil.pid_exists(pid)
    azurite.stop()
    with pytest.raises(AzuriteError, match="is not running"):
        print(azurite.pid)


def test_it_ends_when_its_starter_is_killed() -> None:
    """A starter that dies without a word takes Azurite with it."""
    code = "import os; from sandbox.azurite import Azurite; print(Azurite(usual_ports=False).start().pid, flush=True)"
    starter = subprocess.run(
        [sys.executable, "-c", f"{code}; os.kill(os.getpid(), 9)"], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    pid = int(starter.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=10)
    assert not psutil.pid_exists(pid)


def test_a_missing_package_is_named_with_the_fix(tmp_path: Path) -> None:
    """Without node_modules the error says what to run."""
    with pytest.raises(AzuriteError, match=r"dev\.py setup"):
        Azurite(node_modules=tmp_path).start()
