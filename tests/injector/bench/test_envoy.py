import json
from pathlib import Path
from typing import Any, get_args

from injector.bench.envoy import envoy_config
from injector.bench.layout import ADDRESS, CLIENT, SERVER, Job, Kind
from tests.injector.bench.support import place


def chain(job: Job, folder: Path) -> dict[str, Any]:
    (listener,) = json.loads(envoy_config(job, place(folder)))["static_resources"]["listeners"]
    (found,) = listener["filter_chains"]
    return dict(found)


def http(job: Job, folder: Path) -> dict[str, Any]:
    return dict(chain(job, folder)["filters"][0]["typed_config"])


def test_mtls_demands_a_certificate_and_judges_who_calls(tmp_path: Path) -> None:
    tls = chain(Job("http1-mtls"), tmp_path)["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is True
    assert tls["common_tls_context"]["validation_context"] == {"trusted_ca": {"filename": f"{tmp_path}/roots.pem"}}
    filters = http(Job("http1-mtls"), tmp_path)["http_filters"]
    assert [one["name"] for one in filters] == ["envoy.filters.http.rbac", "envoy.filters.http.router"]
    assert CLIENT in json.dumps(filters[0])
    assert "transport_socket" not in chain(Job("http1"), tmp_path)


def test_every_kind_writes_its_log_and_finds_its_chain_by_the_port_that_was_meant(tmp_path: Path) -> None:
    for kind in get_args(Kind):
        job = Job(kind)
        if kind == "gateway":
            continue
        (log,) = chain(job, tmp_path)["filters"][-1]["typed_config"]["access_log"]
        assert chain(job, tmp_path)["filter_chain_match"] == {"destination_port": job.asked_at[1]}
        assert log["typed_config"]["path"] == "/dev/null"


def test_bytes_through_mtls_are_judged_by_who_calls(tmp_path: Path) -> None:
    filters = chain(Job("tcp-mtls"), tmp_path)["filters"]
    assert [one["name"] for one in filters] == ["envoy.filters.network.rbac", "envoy.filters.network.tcp_proxy"]
    assert CLIENT in json.dumps(filters[0])
    assert len(chain(Job("tcp"), tmp_path)["filters"]) == 1


def test_a_call_goes_to_the_pod_and_verifies_its_identity(tmp_path: Path) -> None:
    resources = json.loads(envoy_config(Job("call"), place(tmp_path)))["static_resources"]
    assert resources["listeners"][0]["address"]["socket_address"]["port_value"] == 15001
    text = json.dumps(resources["clusters"])
    assert SERVER in text
    assert f"{tmp_path}/client.pem" in text
    assert ADDRESS["mesh"] in text


def test_http2_is_spoken_on_both_sides(tmp_path: Path) -> None:
    assert http(Job("http2"), tmp_path)["codec_type"] == "HTTP2"
    assert "http2_protocol_options" in envoy_config(Job("http2"), place(tmp_path))
    assert "http2_protocol_options" not in envoy_config(Job("http1"), place(tmp_path))


def test_each_prefix_has_its_route_in_order(tmp_path: Path) -> None:
    job = Job("http1", routes=10)
    routes = http(job, tmp_path)["route_config"]["virtual_hosts"][0]["routes"]
    assert [route["match"] for route in routes] == [{"path_separated_prefix": prefix} for prefix in job.prefixes]


def test_origination_is_verified_for_the_last_of_the_hosts(tmp_path: Path) -> None:
    job = Job("origination", hosts=10)
    (cluster,) = json.loads(envoy_config(job, place(tmp_path)))["static_resources"]["clusters"]
    tls = cluster["transport_socket"]["typed_config"]
    judged = tls["common_tls_context"]["validation_context"]
    assert judged["trusted_ca"] == {"filename": f"{tmp_path}/roots.pem"}
    assert judged["match_typed_subject_alt_names"][0]["matcher"]["exact"] == tls["sni"] == job.names[-1]
    hosts = http(job, tmp_path)["route_config"]["virtual_hosts"]
    assert [host["domains"] for host in hosts] == [[name] for name in job.names]
    assert "transport_socket" not in chain(job, tmp_path)
