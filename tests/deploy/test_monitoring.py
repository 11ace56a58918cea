"""Rules and dashboard ask for what the API really tells, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sigmafarm import Config, Farm
from sigmafarm.http.metrics.by_model import DURATIONS
from sigmafarm.http.server import HttpServer
from sigmafarm_common.store.values import BOUNDS_MS
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S, until

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in RULES] + [t["expr"] for panel in PANELS for t in panel.get("targets", ())]
#: What Prometheus tells of each scrape by itself.
OF_PROMETHEUS = {"up": {"job", "instance"}}


@pytest.fixture
def config(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Config:
    return Config(redis_url=redis_url, data_dir=tmp_path / "data", http_port=0)


def told(url: str) -> dict[str, set[str]]:
    """Return each metric that a server tells, with its labels."""
    found: dict[str, set[str]] = defaultdict(set, {name: set(labels) for name, labels in OF_PROMETHEUS.items()})
    for family in text_string_to_metric_families(httpx2.get(f"{url}/metrics", timeout=LIMIT_S).text):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


def asked(query: str) -> list[tuple[str, set[str]]]:
    """Return each metric that a query names, with the labels that stand in its braces."""
    named = re.findall(r"\b(up|sigmafarm_\w+)\b(?:{([^}]*)})?", query)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))) for name, braces in named]


def grouped(query: str) -> set[str]:
    groups = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query)
    return {label.strip() for group in groups for label in group.split(",")}


def test_every_query_of_rules_and_dashboard_names_metrics_and_labels_that_the_api_tells_before_anything_was_drawn(
    config: Config,
) -> None:
    with HttpServer(config, has_keeper=False) as server, Farm(config) as farm:
        FarmHand(farm)
        found = told(server.url)

    for query in QUERIES:
        names = asked(query)
        assert names, f"no metric in {query}"
        assert {name for name, _ in names} <= set(found), query
        assert all(labels <= found[name] for name, labels in names), query
        assert grouped(query) <= set().union(*(found[name] for name, _ in names)), query


def test_series_are_the_same_whatever_workers_come_and_go_and_whatever_happens(config: Config) -> None:
    with HttpServer(config, has_keeper=False) as server, Farm(config) as farm:
        hand = FarmHand(farm)
        before = told(server.url)
        num = len(samples_of(server.url))
        for name in ("w1", "w2", "w3"):
            farm.store.renew(hand.info.model_copy(update={"id": name, "host": name, "device": f"cuda:{name}"}), [])
        farm.submit(["a", "fail b"])
        hand.work_all()

        assert told(server.url) == before
        samples = samples_of(server.url)
        assert len(samples) == num, "and zeros were there before"
    assert samples['sigmafarm_failures_total{"code":"render_failed","model":"tiny"}'] == 1
    assert samples['sigmafarm_jobs_ended_total{"model":"tiny","state":"succeeded"}'] == 1
    assert samples['sigmafarm_wait_seconds_bucket{"le":"+Inf","model":"tiny"}'] == 2
    assert samples['sigmafarm_draw_seconds_count{"model":"tiny"}'] == 1
    assert samples['sigmafarm_http_answers_total{"part":"health","status":"2xx"}'] > 0


def samples_of(url: str) -> dict[str, float]:
    text = httpx2.get(f"{url}/metrics", timeout=LIMIT_S).text
    families = text_string_to_metric_families(text)
    return {
        s.name + json.dumps(dict(sorted(s.labels.items())), separators=(",", ":")): s.value
        for family in families
        for s in family.samples
    }


def test_two_api_processes_tell_the_same_of_the_farm_and_each_its_own_answers(config: Config) -> None:
    with HttpServer(config, has_keeper=False) as one, HttpServer(config, has_keeper=False) as two, Farm(config) as farm:
        hand = FarmHand(farm)
        farm.submit(["a"])
        hand.work_all()
        httpx2.get(f"{one.url}/v1/farm", timeout=LIMIT_S)

        of_one, of_two = samples_of(one.url), samples_of(two.url)

    differ = {name for name in of_one if of_one[name] != of_two.get(name)}
    api = 'sigmafarm_http_answers_total{"part":"api","status":"2xx"}'
    assert (of_one[api], of_two[api]) == (1, 0)
    assert not [name for name in differ if re.match("sigmafarm_(jobs|wait|draw|upload|errors|failures)", name)]


def test_every_histogram_of_the_store_is_told() -> None:
    assert set(DURATIONS) == set(BOUNDS_MS)


def test_alerts_say_what_is_wrong_and_where_to_look() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_promtool_takes_rules_and_settings() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here")

    done = subprocess.run([promtool, "check", "config", MONITORING / "prometheus.yml"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@pytest.mark.slow
def test_prometheus_answers_every_query_about_a_farm_that_it_scrapes(config: Config, tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not here")
    with HttpServer(config, has_keeper=False) as server, Farm(config) as farm:
        hand = FarmHand(farm)
        farm.submit(["a", "fail b"])
        hand.work_all()
        said = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
        said["global"]["scrape_interval"] = said["global"]["scrape_timeout"] = "1s"
        said["rule_files"] = [str(MONITORING / "alerts.yml")]
        said["scrape_configs"][0]["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(said))
        with HttpServer(config, has_keeper=False) as spare:
            address = spare.url.removeprefix("http://")  # free again when it has ended
        files = [f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([prometheus, *files, f"--web.listen-address={address}"], stderr=log, stdout=log)
        try:
            ask = f"http://{address}/api/v1/query"
            scraped = "count_over_time(sigmafarm_workers[1m]) >= 3"
            until(lambda: bool(results(ask, scraped)), "Prometheus has scraped the farm three times")
            empty = [q for q in QUERIES[len(RULES) :] if not results(ask, q.replace("$__rate_interval", "1m"))]
            fired = {r["alert"] for r in RULES if results(ask, r["expr"])}
        finally:
            process.terminate()
            process.wait(LIMIT_S)

    assert empty == [], "no panel is without a line"
    assert fired <= {"SigmafarmKeeperSilent", "SigmafarmManyFailures"}


def results(ask: str, query: str) -> list[Any]:
    """Return what Prometheus answers; nothing while it does not listen yet."""
    try:
        answer = httpx2.get(ask, params={"query": query}, timeout=LIMIT_S)
    except httpx2.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, f"{query}: {answer.text}"
    return answer.json()["data"]["result"]
