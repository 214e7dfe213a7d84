"""The API server's answer in the caller's type, or an ApiError that says what went wrong, nothing else."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from certs.kubernetes import CONFLICT, NO_ANSWER, NOT_FOUND, Api, ApiError, ApiServer, LineSplitter, Metadata
from sidecar.model.call import Answer
from sidecar.model.errors import BadResponse, ConfigError
from sidecar.model.value import from_json
from tests.helpers import pki
from tests.helpers.api_double import api_double

from .api_server import COLLECTIONS, ApiServerDouble, api_server

PATH = "/api/v1/namespaces/shop/secrets/a"


class Found(msgspec.Struct):
    metadata: Metadata
    data: dict[str, str] = {}


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[tuple[ApiServerDouble, ApiServer]]:
    async with api_server(tmp_path) as made:
        yield made


def secret(double):
    double.put(PATH, {"metadata": {"name": "a", "uid": "u"}, "data": {"x": "eA==", "y": "eQ=="}, "type": "Opaque"})


async def test_an_object_is_read_and_patched(world):
    double, config = world
    secret(double)
    api = Api(config)
    found = await api.get(PATH, Found)
    assert found.data == {"x": "eA==", "y": "eQ=="}
    patched = await api.patch(PATH, {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": {"x": None}}, Found)
    assert patched.data == {"y": "eQ=="}
    assert double.calls[-1].headers["content-type"] == "application/merge-patch+json"
    with pytest.raises(ApiError, match="has been modified") as caught:
        await api.patch(PATH, {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": {"x": None}}, Found)
    assert caught.value.status == CONFLICT


async def test_a_collection_is_read_page_by_page(world):
    double, config = world
    for name in "abc":
        double.put(f"{COLLECTIONS[0]}/{name}", {"metadata": {"name": name, "uid": name}})
    api, token = Api(config), ""
    for name, following in (("a", "1"), ("b", "2"), ("c", "")):
        (found,), token = await api.page(COLLECTIONS[0], "fieldSelector=x", Found, token)
        assert (found.metadata.name, token) == (name, following)
    assert [call.query for call in double.calls] == [f"fieldSelector=x&limit=100&continue={token}" for token in ("", "1", "2")]


async def test_a_token_and_a_ca_that_were_renewed_count_at_once(world, tmp_path):
    double, config = world
    secret(double)
    api = Api(config)
    (tmp_path / "kube-token").write_text("an old one")
    with pytest.raises(ApiError, match="Unauthorized") as caught:
        await api.get(PATH, Found)
    assert caught.value.status == 401
    (tmp_path / "kube-token").write_text("the issuer's own token")
    await api.get(PATH, Found)
    (tmp_path / "kube-ca.pem").write_text(pki.authority("kubernetes").chain_pem)     # the same name, another key
    with pytest.raises(ApiError, match="cannot be asked") as caught:
        await api.get(PATH, Found)
    assert caught.value.status == NO_ANSWER


async def test_nothing_is_sent_to_a_server_of_another_name(world):
    double, config = world
    elsewhere = ApiServer(config.server.replace("127.0.0.1", "localhost"), config.ca_file, config.token_file)
    with pytest.raises(ApiError, match="not for localhost"):
        await Api(elsewhere).get(PATH, Found)
    assert double.calls == []


@pytest.mark.parametrize(("answer", "status", "why"), [
    (Answer(404, b'{"message": "secrets \\"a\\" not found"}'), NOT_FOUND, 'secrets "a" not found'),
    (Answer(500, b"<html>"), 500, "<html>"),
    (Answer(302, b""), 302, "302"),
    (Answer(200, b"{"), NO_ANSWER, "not understood"),
    (Answer(200, b'{"metadata": {}}'), NO_ANSWER, "not understood.*name"),
    (Answer(200, b'[' * 5000), NO_ANSWER, "not understood"),
    (Answer(200, b'\xff'), NO_ANSWER, "not understood"),
    (Answer(500, b'[' * 5000), 500, r"\[\["),
])
async def test_other_answers(world, answer, status, why):
    double, config = world
    double.before = lambda call: answer
    with pytest.raises(ApiError, match=why) as caught:
        await Api(config).get(PATH, Found)
    assert caught.value.status == status
    assert len(str(caught.value)) < 1000


async def test_no_file_and_nobody_there(tmp_path):
    (tmp_path / "ca").write_text(pki.authority("kubernetes").chain_pem)
    (tmp_path / "token").write_text("t")
    for config, why in (
        (ApiServer("https://127.0.0.1:1", str(tmp_path / "ca"), str(tmp_path / "none")), "none"),
        (ApiServer("https://127.0.0.1:1", str(tmp_path / "token"), str(tmp_path / "token")), "no certificate"),
        (ApiServer("https://127.0.0.1:1", str(tmp_path / "ca"), str(tmp_path / "token")), "refused"),
    ):
        with pytest.raises(ApiError, match=why) as caught:
            await Api(config).get(PATH, Found)
        assert caught.value.status == NO_ANSWER


async def test_no_answer_in_time(world):
    double, config = world
    double.is_mute = True
    with pytest.raises(ApiError, match=r"does not answer within 0\.2 s") as caught:
        await Api(config, patience_s=0.2).get(PATH, Found)
    assert caught.value.status == NO_ANSWER


def test_a_config_with_nothing_in_it_is_a_pods():
    assert json.loads(msgspec.json.encode(from_json(b"{}", ApiServer))) == {}
    assert from_json(b"{}", ApiServer).server == "https://kubernetes.default.svc"
    for server in ("http://x", "https://", "https://a b"):
        with pytest.raises(ConfigError, match="server"):
            Api(from_json(json.dumps({"server": server}).encode(), ApiServer))


class TestLines:
    @pytest.mark.parametrize("size", [1, 3, 1000])
    def test_they_are_the_same_however_they_are_cut(self, size):
        text = b"one\n\ntwo\nthree"
        splitter, found = LineSplitter(), []
        for at in range(0, len(text), size):
            found += splitter.feed(text[at:at + size])
        assert found == [b"one", b"", b"two"]
        assert splitter.feed(b"\n") == [b"three"]

    @pytest.mark.parametrize("size", [1, 7])
    def test_none_is_longer_than_the_bound(self, size):
        splitter = LineSplitter(most=10)
        assert splitter.feed(b"x" * 10 + b"\n") == [b"x" * 10]
        with pytest.raises(BadResponse, match="more than 10 bytes"):
            for at in range(0, 11, size):
                splitter.feed(b"x" * min(size, 11 - at))


class TestWriting:
    """Against the small server that keeps what it is told; how a real one merges is for tests/e2e/kubernetes."""

    async def test_the_kinds_of_patches(self, tmp_path):
        async with api_double(tmp_path) as (double, config):
            api = Api(config)
            double.put("/api/v1/namespaces/shop/configmaps", {"metadata": {"namespace": "shop", "name": "a"}})
            path = "/api/v1/namespaces/shop/configmaps/a"
            await api.apply(path, {"data": {"x": "1"}}, dict, manager="bartizan test")
            sent = double.asked[-1]
            assert (sent.method, sent.headers["content-type"]) == ("PATCH", "application/apply-patch+yaml")
            assert sent.query == {"fieldManager": "bartizan test", "force": "true"}
            double.before = answer_empty
            await api.patch(path, {"data": {"x": "1"}}, dict)
            sent = double.asked[-1]
            assert sent.headers["content-type"] == "application/merge-patch+json"
            assert sent.body == {"data": {"x": "1"}}

    async def test_deleting_what_is_gone_is_no_error(self, tmp_path):
        async with api_double(tmp_path) as (double, config):
            made = double.put("/api/v1/namespaces/shop/configmaps", {"metadata": {"namespace": "shop", "name": "a"}})
            path, version = "/api/v1/namespaces/shop/configmaps/a", made["metadata"]["resourceVersion"]
            await Api(config).delete(path, version=version)
            assert double.asked[-1].body["preconditions"] == {"resourceVersion": version}
            await Api(config).delete(path)
            double.before = refuse_all
            with pytest.raises(ApiError, match="403"):
                await Api(config).delete(path)

    async def test_how_long_it_asks_to_be_left_alone(self, tmp_path):
        async with api_double(tmp_path) as (double, config):
            for said, means in (("7", 7.0), ("x", 0.0), ("-1", 0.0), ("9" * 40, 0.0)):
                async def busy(asked, said=said):
                    await asked.refuse(429, "", f"retry-after: {said}")
                    return True

                double.before = busy
                with pytest.raises(ApiError) as caught:
                    await Api(config).get(PATH, dict)
                assert (caught.value.status, caught.value.retry_after_s) == (429, means)


async def answer_empty(asked):
    await asked.answer(200, b"{}")
    return True


async def refuse_all(asked):
    await asked.refuse(403)
    return True
