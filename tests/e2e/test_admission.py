"""Every text of tests/vectors/admission to the real webhook server, over HTTPS: the same verdicts, and a server that goes on."""

from functools import partial

import trio

from injector.review import MAX_BODY_BYTES
from injector.server import Webhook
from sidecar.model.call import Answer
from sidecar.net.dial import Dialer
from sidecar.net.listener import Tally
from sidecar.net.service import call_https, serve_https
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.injector.test_torture import GENUINE, VECTORS, load
from tests.injector.torture import CLUSTER, SETTINGS, bodies, verdict, verdict_of

NAME = "bartizan-injector.bartizan-system.svc"
WITHIN_S = 100
PLACES = ("body", "object", "routes")


async def test_every_text_is_answered_by_the_server_that_the_api_server_calls() -> None:
    root = pki.authority("webhook")
    credentials = pki.server_credentials(pki.issue(root, pki.host(NAME)))
    webhook, tally = Webhook(lambda: SETTINGS, Watched(CLUSTER)), Tally()
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(
                serve_https, "127.0.0.1", 0, lambda: credentials, webhook.answer, max_body_bytes=MAX_BODY_BYTES, tally=tally))

            async def post(body: bytes, path: str = "/mutate") -> Answer:
                return await call_https(
                    Dialer(), ("127.0.0.1",), f"https://{NAME}:{port}{path}", "POST", roots=[root.certificate],
                    headers=[(b"content-type", b"application/json")], body=body)

            for path in VECTORS:
                for place, body in bodies(load(path)[1]).items():
                    if place in PLACES:
                        answer = await post(body)
                        assert verdict_of(body, answer.status, answer.body) == verdict(body), (path.stem, place)
            assert verdict_of(GENUINE, 200, (await post(GENUINE)).body) == "patched"
            assert (await post(GENUINE, "/validate")).status == 200
            nursery.cancel_scope.cancel()
    assert tally.bugs == 0
