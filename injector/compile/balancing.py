"""`bartizan.dev/endpoints` of the pods behind a Service, as its callers need it."""

from injector.documents import EndpointsRule
from injector.documents.text import seconds
from sidecar.model.service import Balancing, Ejection


def balancing(rule: EndpointsRule) -> Balancing:
    """What the rule leaves out stays as it is by default."""
    fields: dict[str, object] = {}
    if rule.balancing is not None:
        fields |= {"policy": rule.balancing.policy, "hash_on": rule.balancing.hash_on}
    if rule.zone_preference is not None:
        fields["zone_preference"] = rule.zone_preference
    if rule.slow_start is not None:
        fields["slow_start_s"] = seconds(rule.slow_start)
    if rule.connect_timeout is not None:
        fields["connect_s"] = seconds(rule.connect_timeout)
    if rule.ejection == "off":
        fields["ejection"] = None
    elif rule.ejection is not None:
        fields["ejection"] = Ejection(rule.ejection.failures, seconds(rule.ejection.for_), rule.ejection.most_percent)
    if rule.limits is not None:
        fields["limits"] = rule.limits
    return Balancing(**fields)      # type: ignore[arg-type]  # each has the type of its field
