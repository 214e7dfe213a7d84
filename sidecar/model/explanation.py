"""A question of the operator's, whether and how something would be reached, and its answer: steps, each with what was found.

Steps come in the order of STEPS. Where one of the sidecar's is refused or failed, those behind it are skipped; what nobody but the
application can know is unknown.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

from .egress import Method
from .errors import ConfigError
from .reason import Reason
from .value import Port, Value

MAX_ANSWER_BYTES = 64 << 10     # of an explanation on its way
MOST_WORDS = 960                # characters of one text in it
SENT_METHODS = ("GET", "HEAD", "OPTIONS")

Outcome = Literal["ok", "refused", "failed", "unknown", "skipped"]
StepName = Literal[
    # the control plane's
    "pod", "request", "policy", "snapshot",
    # the sidecar's
    "interception", "destination", "approval", "verification", "resolution", "isolation", "connection", "proof", "answer",
]
STEPS: tuple[StepName, ...] = (
    "pod", "request", "policy", "snapshot",
    "interception", "destination", "approval", "verification", "resolution", "isolation", "connection", "proof", "answer",
)
NONE: Mapping[str, object] = MappingProxyType({})
Code = Annotated[str, msgspec.Meta(pattern=r"^(BZ[0-9]{4})?(?!\n)$")]      # of a Reason: people are told to type it
AskedKind = Literal["auto", "plain", "tls", "tcp"]


class Question(Value, frozen=True):
    """
    Args:
        host: a name, an address, or a Service as the application calls it: `orders`, `orders.shop`, `orders.shop.svc.cluster.local`.
        kind: what the application speaks there; `auto`: what is approved for the port.
        method, path: of plain HTTP.
        sends: one real request is sent, as the application would; else no byte of one is.
    """

    host: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,255}(?!\n)$")]
    port: Port
    kind: AskedKind = "auto"
    method: Method = "GET"
    path: Annotated[str, msgspec.Meta(pattern=r"^/[!-~]{0,8000}(?!\n)$")] = "/"
    sends: bool = False


class Asked(Value, frozen=True):
    """A question on its way to a sidecar.

    Args:
        id: of this asking, for the answer.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    question: Question


class Step(Value, frozen=True):
    """
    Args:
        words: what was found, in a sentence.
        facts: by name, for whoever looks closer.
        code: of the reason, where it is not `ok`.
    """

    name: StepName
    outcome: Outcome
    words: str = ""
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    code: Code = ""


class Explanation(Value, frozen=True):
    """
    Args:
        code: of the reason why it would not be reached; empty: it would.
        snapshot: digest of the one that was judged by; empty: nobody has judged.
    """

    steps: tuple[Step, ...]
    code: Code = ""
    snapshot: str = ""

    @property
    def is_reached(self) -> bool:
        return not self.code and bool(self.snapshot)


def check_question(question: Question) -> None:
    """What types cannot say. Raises ConfigError."""
    if question.sends and question.method not in SENT_METHODS:
        raise ConfigError("method", f"{question.method} may change something there; only {', '.join(SENT_METHODS)} are sent for a question")
    if question.sends and question.kind == "tcp":
        raise ConfigError("kind", "only HTTP can be asked something; leave `sends` out")


def step(name: StepName, outcome: Outcome, words: str = "", *, code: str = "", facts: Mapping[str, object] = NONE) -> Step:
    """Texts are cut to MOST_WORDS; a fact without text is none."""
    known = {key: str(value)[:MOST_WORDS] for key, value in facts.items() if value not in (None, "")}
    return Step(name, outcome, words[:MOST_WORDS], known, code)


def no(name: StepName, reason: Reason, detail: str = "", facts: Mapping[str, object] = NONE) -> Step:
    """The step that ends it."""
    known = {**facts, "reason": reason.token, "cure": reason.cure}
    return step(name, "failed" if reason.is_failure else "refused", detail or reason.cause, code=reason.code, facts=known)
