"""The machine's credentials, as botocore finds them; it is asked in threads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vb.storage.base import StorageError, StorageMissing
from vb.storage.sigv4 import Credentials
from vb.storage.tasks.credentials import MachineCredentials, require_botocore

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "ROLE_ARN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("SHARED_CREDENTIALS_FILE", "CONFIG_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def test_a_profile_is_found_and_kept(tmp_path: Path) -> None:
    profile = "[default]\naws_access_key_id = A\naws_secret_access_key = S\naws_session_token = T\n"
    (tmp_path / "SHARED_CREDENTIALS_FILE").write_text(profile)
    find = MachineCredentials()
    assert await find() == Credentials("A", "S", "T")
    (tmp_path / "SHARED_CREDENTIALS_FILE").unlink()
    assert await find() == Credentials("A", "S", "T")


async def test_a_machine_without_any_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="no credentials were found"):
        await MachineCredentials()()


async def test_a_file_that_cannot_be_read_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "CONFIG_FILE").write_text("nonsense")
    with pytest.raises(StorageError, match="no credentials were found"):
        await MachineCredentials()()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StorageMissing, match=r"vb\[storage\]"):
        require_botocore()
