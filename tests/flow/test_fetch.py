"""The sample comes from the cache, verified; nothing else is ever believed."""

import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from node.exceptions import NodeError
from node.flow import fetch


def make_wheel(path: Path) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{fetch.DATA_FOLDER}/orders.csv.gz", gzip.compress(b"orders"))
        archive.writestr(f"{fetch.DATA_FOLDER}/trades.csv", b"trades")
        archive.writestr(f"{fetch.DATA_FOLDER}/meta.json", b"{}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_cached_wheel_with_the_pinned_hash_is_read_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "WHEEL_SHA256", make_wheel(tmp_path / fetch.WHEEL))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert fetch.fetch_sample(tmp_path) == (b"orders", b"trades", b"{}")


def test_a_damaged_cached_wheel_is_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(folder: Path) -> Path:
        make_wheel(folder / fetch.WHEEL)
        return folder / fetch.WHEEL

    monkeypatch.setattr(fetch, "WHEEL_SHA256", make_wheel(tmp_path / fetch.WHEEL))
    monkeypatch.setattr(fetch, "download", download)
    (tmp_path / fetch.WHEEL).write_bytes(b"damaged")
    assert fetch.fetch_sample(tmp_path).trades_csv == b"trades"
    assert [path.name for path in tmp_path.iterdir()] == [fetch.WHEEL]


def test_a_download_with_another_hash_is_refused_and_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(folder: Path) -> Path:
        make_wheel(folder / fetch.WHEEL)
        return folder / fetch.WHEEL

    monkeypatch.setattr(fetch, "download", download)
    with pytest.raises(NodeError) as refusal:
        fetch.fetch_sample(tmp_path)
    assert refusal.value.number == fetch.SAMPLE_FORGED
    assert list(tmp_path.iterdir()) == []


def test_without_an_index_the_error_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIALTO_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NodeError) as refusal:
        fetch.fetch_sample()
    assert refusal.value.number == fetch.SAMPLE_UNREACHABLE
    assert fetch.WHEEL in refusal.value.text
    assert str(tmp_path) in refusal.value.text
    assert list(tmp_path.iterdir()) == []
