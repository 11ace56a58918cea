"""What docs/deploy/backup.md says of a restore: real servers, a real copy, and pictures that stay."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sigmafarm import Config, Farm
from sigmafarm_common.check import check_farm
from tests.farm_hand import FarmHand
from tests.redis_server import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "deploy" / "backup.md"


def test_records_of_a_server_with_a_password_are_saved_by_the_commands_of_the_page(tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not here")
    saving = re.search(r"(mkdir -p backup.*--rdb \S+)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert saving
    server = RedisServer(tmp_path / "server", options=("--requirepass", "open sesame"))
    server.start()
    said = {"PASSWORD": shlex.quote("open sesame"), "queue.internal": "127.0.0.1", "6379": str(server.port)}
    commands = re.sub("|".join(said), lambda found: said[found[0]], saving[1])
    try:
        done = subprocess.run(["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True)
    finally:
        server.stop()

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "backup" / "farm.rdb").stat().st_size


def test_restored_farm_draws_again_what_the_backup_did_not_know_and_loses_no_picture(tmp_path: Path) -> None:
    before, after = RedisServer(tmp_path / "before"), RedisServer(tmp_path / "after")
    data = tmp_path / "data"
    before.start()
    try:
        with Farm(Config(redis_url=before.url, data_dir=data)) as farm:
            hand = FarmHand(farm)
            first = farm.submit(["a"])
            hand.work_all()
            second = farm.submit(["b"])
            client = farm.store.client  # type: ignore[attr-defined]
            client.save()
            where, name = client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"]
            shutil.copy(Path(where) / name, tmp_path / "farm.rdb")
            hand.work_all()
            lost_key = farm.job(f"{second.id}-000000").image_key
            kept_key = farm.job(f"{first.id}-000000").image_key
    finally:
        before.stop()
    after.folder.mkdir()
    shutil.copy(tmp_path / "farm.rdb", after.folder / name)
    after.start()
    try:
        with Farm(Config(redis_url=after.url, data_dir=data)) as farm:
            assert farm.batch(second.id).counts.queued == 1
            FarmHand(farm).work_all()
            again_key = farm.job(f"{second.id}-000000").image_key

            assert farm.objects.get(kept_key)
            assert farm.objects.get(again_key)
            assert farm.objects.get(lost_key), "what was drawn before the restore is there until its batch is swept"
            assert check_farm(farm.config, farm.store, farm.objects).is_clean
    finally:
        after.stop()
