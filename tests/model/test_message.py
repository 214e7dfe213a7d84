import pytest

from sidecar.model.message import NO_BODY, RequestHead


@pytest.mark.parametrize(("target", "path"), [(b"/a?b=c", b"/a"), (b"/a", b"/a"), (b"/?", b"/"), (b"/a?b?c", b"/a"), (b"*", b"*")])
def test_path_is_the_target_without_its_query(target: bytes, path: bytes) -> None:
    assert RequestHead(b"GET", target, b"a", None, [], NO_BODY, False).path == path
