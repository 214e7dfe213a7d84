"""The directory and the Secret come to be the same, whoever changed what, and no change is lost without a word."""

import base64
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from certs import files
from certs.ca import HTTPS_DOMAINS
from certs.kubernetes import CONFLICT, ApiError
from certs.secret_store import MEMORY, TRIES, SecretAuthority, SecretStore, is_in_memory, manifest, merged, place_of, read_files
from certs.server import parse_config, serve
from sidecar.model.call import Answer
from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock

from .api_server import ApiServerDouble, api_server, failure
from .support import DOMAIN, JWKS
from .test_server import document

PATH = "/api/v1/namespaces/bartizan-system/secrets/authority"


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
async def world(tmp_path, memory) -> AsyncIterator[tuple[ApiServerDouble, SecretStore]]:
    """A Secret of two files, and a store that has begun with it."""
    async with api_server(tmp_path) as (double, place):
        double.put(PATH, {"metadata": {"name": "authority"}, "data": encoded(a=b"1", b=b"2")})
        store = SecretStore(config(place, memory / "copy"))
        await store.begin()
        yield double, store


def config(place, copy):
    where = {"server": place.server, "ca_file": place.ca_file, "token_file": place.token_file}
    return SecretAuthority(namespace="bartizan-system", name="authority", copy=str(copy), **where)


def encoded(**content: bytes | None) -> dict[str, str | None]:
    return {name: None if data is None else base64.b64encode(data).decode() for name, data in content.items()}


def held(double) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in double.objects[PATH]["data"].items()}


def change(double, **content: bytes | None) -> None:
    data = {name: text for name, text in (double.objects[PATH]["data"] | encoded(**content)).items() if text is not None}
    double.put(PATH, {**double.objects[PATH], "data": data})


def test_three_ways():
    base = {"same": b"0", "ours": b"0", "theirs": b"0", "both": b"0", "clash": b"0", "we-drop": b"0", "they-drop": b"0", "lost": b"0"}
    ours = {"same": b"0", "ours": b"1", "theirs": b"0", "both": b"1", "clash": b"1", "they-drop": b"0", "lost": b"1", "new": b"1"}
    theirs = {"same": b"0", "ours": b"0", "theirs": b"2", "both": b"1", "clash": b"2", "we-drop": b"0", "new-too": b"2"}
    both = {"same": b"0", "ours": b"1", "theirs": b"2", "both": b"1", "clash": b"2", "new": b"1", "new-too": b"2"}
    assert merged(base, ours, theirs) == (both, ["clash", "lost"])


class TestBegin:
    async def test_the_directory_is_what_the_secret_is_and_no_more(self, tmp_path, memory):
        copy = memory / "copy"
        copy.mkdir(mode=0o700)
        (copy / "stale").write_bytes(b"of an earlier process")
        (copy / files.LOG).write_bytes(b"not ours")
        async with api_server(tmp_path) as (double, place):
            double.put(PATH, {"metadata": {"name": "authority"}, "data": encoded(**{"a": b"1", "../b": b"2", ".c": b"3"})})
            await SecretStore(config(place, copy)).begin()
        assert read_files(copy) == {"a": b"1"}
        assert (copy / files.LOG).exists()
        assert (copy / "a").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in memory.iterdir()) == ["copy"]

    async def test_without_a_secret_it_says_how_to_make_one(self, tmp_path, memory):
        async with api_server(tmp_path) as (_, place):
            with pytest.raises(ConfigError, match=r"bartizan certs init --secret bartizan-system/authority .* kubectl create"):
                await SecretStore(config(place, memory / "copy")).begin()

    async def test_without_an_answer_it_does_not_begin(self, tmp_path, memory):
        async with api_server(tmp_path) as (double, place):
            double.before = lambda call: Answer(503, b"etcd is away")
            with pytest.raises(ConfigError, match="etcd is away"):
                await SecretStore(config(place, memory / "copy")).begin()

    async def test_no_key_gets_onto_a_disk_or_into_an_open_directory(self, tmp_path, memory):
        assert [is_in_memory(path) for path in (memory, Path("/proc"))] == [True, False]
        disk = Path(__file__).parent if is_in_memory(tmp_path) else tmp_path    # some keep /tmp in memory
        memory.chmod(0o750)
        async with api_server(tmp_path) as (double, place):
            with tempfile.TemporaryDirectory(dir=disk) as on_disk:
                for copy in (Path(on_disk), memory):
                    with pytest.raises(ConfigError, match=r"authority\.copy"):
                        await SecretStore(config(place, copy)).begin()
        assert double.calls == []


class TestStep:
    async def test_what_changed_here_goes_there(self, world):
        double, store = world
        (store.directory / "a").write_bytes(b"new")
        (store.directory / "b").unlink()
        (store.directory / "c").write_bytes(b"3")
        (store.directory / f"{files.LOG}").write_bytes(b"")
        await store.step()
        assert held(double) == {"a": b"new", "c": b"3"}

    async def test_what_changed_there_comes_here(self, world):
        double, store = world
        change(double, a=b"new", b=None, c=b"3")
        await store.step()
        assert read_files(store.directory) == {"a": b"new", "c": b"3"}
        assert [call.method for call in double.calls] == ["GET", "GET"]

    async def test_a_change_that_comes_between_is_read_again(self, world):
        double, store = world
        (store.directory / "a").write_bytes(b"ours")

        def interfere(call):
            if call.method == "PATCH" and held(double)["b"] == b"2":
                change(double, b=b"b of another")

        double.before = interfere
        await store.step()
        assert held(double) == read_files(store.directory) == {"a": b"ours", "b": b"b of another"}

    async def test_the_same_file_changed_on_both_sides(self, world, capsys):
        double, store = world
        (store.directory / "a").write_bytes(b"ours")
        change(double, a=b"theirs")
        await store.step()
        assert held(double) == read_files(store.directory) == {"a": b"theirs", "b": b"2"}
        assert "a was changed here and in the Secret bartizan-system/authority; the Secret's counts" in capsys.readouterr().err

    async def test_conflicts_without_end_are_told(self, world):
        double, store = world
        (store.directory / "a").write_bytes(b"ours")
        double.before = lambda call: failure(409, call.path) if call.method == "PATCH" else None
        with pytest.raises(ApiError, match=f"changed it {TRIES} times") as caught:
            await store.step()
        assert caught.value.status == CONFLICT
        assert (store.directory / "a").read_bytes() == b"ours"
        double.before = lambda call: None
        await store.step()
        assert held(double)["a"] == b"ours"

    async def test_a_write_that_fails_is_not_taken_for_done(self, world):
        double, store = world
        (store.directory / "a").write_bytes(b"ours")
        double.before = lambda call: Answer(500) if call.method == "PATCH" else None
        with pytest.raises(ApiError, match="500"):
            await store.step()
        double.before = lambda call: None
        await store.step()
        assert held(double)["a"] == b"ours"

    async def test_what_came_from_there_is_not_taken_for_a_change_of_ours(self, world):
        """Though the write of what did change here failed, and the Secret then took its own change back."""
        double, store = world
        (store.directory / "a").write_bytes(b"ours")
        change(double, b=b"for a moment")
        double.before = lambda call: Answer(500) if call.method == "PATCH" else None
        with pytest.raises(ApiError, match="500"):
            await store.step()
        double.before = lambda call: None
        change(double, b=b"2")
        await store.step()
        assert held(double) == read_files(store.directory) == {"a": b"ours", "b": b"2"}

    async def test_a_directory_that_somebody_is_changing_is_left_alone(self, world):
        double, store = world
        change(double, a=b"theirs")
        with files.locked(store.directory), pytest.raises(files.Busy):
            await store.step()
        assert read_files(store.directory) == {"a": b"1", "b": b"2"}


async def test_it_goes_on_by_itself_and_tells_a_failure_once(world, capsys):
    double, store = world
    written = trio.Event()

    def fail_twice(call):
        if call.method == "PATCH":
            failures.append(1)
            if len(failures) < 3:
                return Answer(500, b"no")
            written.set()
        return None

    failures: list[int] = []
    double.before = fail_twice
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        (store.directory / "a").write_bytes(b"ours")
        await written.wait()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().err.count("differ for now") == 1


def test_a_manifest_is_what_a_store_reads():
    made = json.loads(manifest("ns", "n", {"root.key": b"\x00k", "a": b""}))
    assert (made["kind"], made["metadata"]) == ("Secret", {"namespace": "ns", "name": "n"})
    assert msgspec.convert(made["data"], dict[str, bytes]) == {"root.key": b"\x00k", "a": b""}


@pytest.mark.parametrize("text", ["", "a", "/b", "a/", "a/b/c", "A/b", "a/../b", "a b/c"])
def test_places_that_are_none(text):
    with pytest.raises(ConfigError, match="NAMESPACE/NAME"):
        place_of(text)


async def test_an_issuer_begins_with_a_secret(tmp_path, memory):
    (tmp_path / "jwks.json").write_bytes(JWKS)
    files.init(memory / "made", DOMAIN, HTTPS_DOMAINS, wall_clock())
    async with api_server(tmp_path) as (double, place), trio.open_nursery() as nursery:
        double.put(PATH, json.loads(manifest("bartizan-system", "authority", read_files(memory / "made"))))
        said = json.loads(msgspec.json.encode(config(place, memory / "copy")))
        await nursery.start(serve, parse_config(document(tmp_path, authority=said)))
        # What the issuer publishes is kept with its keys; what it issued is not.
        assert files.load(memory / "copy").trust_domain == DOMAIN
        assert [path.name for path in (tmp_path / "ca").iterdir()] == [files.LOG]
        assert not (memory / "copy" / files.LOG).exists()
        nursery.cancel_scope.cancel()
