from injector.manifests.webhooks import webhooks

from .support import PLANS


def test_who_does_not_answer_admits_nothing() -> None:
    for made in webhooks(PLANS["default"]):
        for hook in made["webhooks"]:
            assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Fail", 5, "None")
            assert hook["clientConfig"]["service"]["name"] == "bartizan-injector"
