import msgspec
import pytest

from injector.documents.text import Duration, Size, in_bytes, seconds


@pytest.mark.parametrize(("text", "expected"), [
    ("3s", 3), ("500ms", 0.5), ("1m30s", 90), ("2h", 7200), ("1h2m3s4ms", 3723.004), ("0s", 0), ("1m1m", 120),
])
def test_durations(text: str, expected: float) -> None:
    assert msgspec.convert(text, Duration) == text
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "3", "s", "1.5s", "-1s", "3S", "3 s", "1d", "123456s", "1s1s1s1s1s", "3s\n", 3, None])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Duration)


@pytest.mark.parametrize(("size", "expected"), [
    (0, 0), (512, 512), ("512", 512), ("512B", 512), ("1kB", 1000), ("1KiB", 1024), ("1Ki", 1024), ("2MB", 2_000_000),
    ("2MiB", 2 << 20), ("2Mi", 2 << 20), ("1GB", 10**9), ("1GiB", 1 << 30), ("1Gi", 1 << 30),
])
def test_sizes(size: int | str, expected: int) -> None:
    assert msgspec.convert(size, Size) == size
    assert in_bytes(size) == expected


@pytest.mark.parametrize("size", [-1, "", "1 MiB", "1.5MiB", "MiB", "1mb", "1M", "1KB", "1kiB", "1KiB\n", 1.5, None])
def test_what_is_no_size(size: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(size, Size)
