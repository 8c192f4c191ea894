"""`--attester-key`, `--committer-key`, and the keys: what does not go together is refused."""

from pathlib import Path

import pytest
from test_l1_options import configured

from consensus.signatures import address_of, public_key_of
from node import cli
from node.config import LEADER
from node.exceptions import NodeError
from node.key_files import KEY_EXPOSED, KEY_UNUSABLE, make_l1_key, read_l1_key
from node.l1.backlog import COMMITTER_SETTING
from node.process import read_settles

L1 = ("--l1", "http://l1", "--deployment", "d.json")


@pytest.mark.parametrize(
    "words",
    [
        ("--attester-key", "a.key"),
        (*L1, "--committer-key", "c.key"),
        (*L1, "--batch-blobs", "7"),
        (*L1, "--batch-blobs", "6", "--backlog-blobs", "11"),
        (*L1, "--batch-deadline", "0"),
        (*L1, "--fee-cap", "0"),
        (*L1, "--attester-key", "a.key", "--blob-archive", "final"),
        (*L1, "--fee-total-cap", "0"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(NodeError) as caught:
        configured(*words, role=LEADER)
    assert caught.value.number == COMMITTER_SETTING


def test_only_a_leader_commits() -> None:
    with pytest.raises(NodeError) as caught:
        configured(*L1, "--attester-key", "a.key", "--committer-key", "c.key")
    assert caught.value.number == COMMITTER_SETTING


def test_the_keys_of_a_leader_are_read_from_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attester, committer = tmp_path / "a.key", tmp_path / "c.key"
    assert cli.main(["validator", "l1-key", str(attester)]) == 0
    secret = read_l1_key(attester)
    assert "0x" + address_of(public_key_of(secret)).hex() in capsys.readouterr().out
    made = make_l1_key(committer)
    words = (*L1, "--attester-key", str(attester), "--committer-key", str(committer))
    settles = read_settles(configured(*words, role=LEADER))
    assert settles is not None
    assert (settles.attester, settles.committer) == (secret, made)
    assert not settles.drops_final_blobs
    settles = read_settles(configured(*words, "--blob-archive", "final", role=LEADER))
    assert settles is not None and settles.drops_final_blobs
    assert read_settles(configured(*L1)) is None


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    make_l1_key(path)
    path.chmod(0o644)
    with pytest.raises(NodeError) as caught:
        read_l1_key(path)
    assert caught.value.number == KEY_EXPOSED
    path.chmod(0o600)
    path.write_text("00" * 32)
    with pytest.raises(NodeError) as caught:
        read_l1_key(path)
    assert caught.value.number == KEY_UNUSABLE
