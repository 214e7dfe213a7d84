from injector.documents import EdgeRule
from injector.documents.edge import combined
from injector.validate import read_edge


def test_one_rule_of_its_fields() -> None:
    reading = read_edge("httpsRedirect: false\nmaxBody: 1MiB\ndenyFrom: [192.0.2.0/24]\nconcurrency: 0")
    assert reading.broken == {"concurrency"}
    assert combined(reading.entries) == EdgeRule(https_redirect=False, max_body="1MiB", deny_from=("192.0.2.0/24",))
    assert combined({}) == EdgeRule()
