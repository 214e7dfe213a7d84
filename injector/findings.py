"""What `bartizan analyze` finds before anything runs: codes beside those of `sidecar/model/reason.py`, with cause and cure.

Codes never change their meaning and are never used again.
"""

from enum import Enum


class Finding(Enum):
    """As a Reason: `code` for machines, `token` for people, `cause` and `cure` for `explain`."""

    def __init__(self, code: str, token: str, cause: str, cure: str) -> None:
        self.code = code
        self.token = token
        self.cause = cause
        self.cure = cure

    INVALID = (
        "BZ0701", "document-invalid",
        "An annotation or a policy cannot be read, or says something that is not valid. Admission refuses it.",
        "The finding names line, field and the nearest valid word; `bartizan schema` prints what there is.",
    )
    UNKNOWN_NAME = (
        "BZ0702", "unknown-name",
        "An annotation or label under bartizan.dev is none that anybody reads.",
        "Write the name that the finding suggests, or remove it.",
    )
    NOT_APPROVED = (
        "BZ0703", "egress-not-approved",
        "An entry of bartizan.dev/egress is approved by no EgressPolicy among the files. Admission refuses it.",
        "Have an EgressPolicy approve it for this workload, or remove the entry.",
    )
    POD_REFUSED = (
        "BZ0704", "pod-refused",
        "The pod could get round its sidecar, or its containers cannot be patched. Admission refuses it.",
        "Change what the finding names.",
    )
    UNREADABLE = (
        "BZ0705", "file-unreadable",
        "The file cannot be read, or is no plain YAML or JSON.",
        "Mend the line that the finding names. Anchors, tags and merge keys are not read.",
    )
    ABSENT = (
        "BZ0706", "names-nothing",
        "A rule names a Service or a token issuer that is not among the files. Admission lets it pass; nothing is sent to "
        "such a Service, and a rule with such an issuer refuses every request.",
        "Write the name of one that is there, or create it: a Service in the pod's own namespace, an issuer in a MeshPolicy.",
    )
    PERMISSIVE_OVER = (
        "BZ0707", "permissive-over",
        "A MeshPolicy lets plaintext in until a date that has passed. What it names is strict now: plaintext is refused there.",
        "Take the mode out, which says the same; or, if callers without a sidecar are still needed, set a new date.",
    )
    LEFT_OPEN = (
        "BZ0708", "left-open",
        "The pod is admitted, and a process in it could still pass its sidecar by: it could take the sidecar's UID, which the packet rules "
        "exempt, or it shares a folder with the node. Hardening `standard` leaves that to the pod.",
        "Set runAsUser, `allowPrivilegeEscalation: false` and `capabilities: {drop: [ALL]}` in each container's securityContext, or have "
        "a MeshPolicy with `hardening: strict` select the pod.",
    )
    EXCLUDED = (
        "BZ0709", "excluded",
        "What bartizan.dev/exclude names passes the sidecar by: nobody judges it and nobody writes it down. Admission refuses what no "
        "MeshPolicy lets be excluded.",
        "Remove the value, or have the platform team list it in `exclusions` of the MeshPolicy that selects the pod.",
    )
    LEAVE_OVER = (
        "BZ0710", "leave-over",
        "A waiver of an EgressPolicy, or the observation of a MeshPolicy, had an end that has passed. The check holds again; what nobody "
        "approves is refused.",
        "Take it out, which says the same; or, if it is still needed, set a new date.",
    )
    NOT_INJECTED = (
        "BZ0711", "namespace-not-injected",
        "Pods or workloads ask for something of the mesh, and their namespace is not in it: nobody carries it out.",
        "Label the namespace with the command that the finding names, and make the pods anew.",
    )
    NO_SIDECAR = (
        "BZ0712", "pod-without-sidecar",
        "The namespace is labelled and the pod has no sidecar: it was created before, or may not have one. It reaches whatever the network "
        "lets it, and no Service of the mesh leads to it.",
        "Make it anew with the command that the finding names; or change what stands against a sidecar.",
    )
    NO_SUCH_PORT = (
        "BZ0713", "port-unknown",
        "A Service, or a NetworkPolicy, names a port that no container of its pods has: nothing is sent there, nothing is listed.",
        "Write the name, or the number, of a port that the pods have; of a Service into targetPort.",
    )
    SELECTS_NOBODY = (
        "BZ0714", "selects-nobody",
        "A policy, an item of its `from` or `to`, or a Service selects no pod and no workload: what it says is in force for nobody.",
        "Correct the namespace, the labels or the service account that it names; or remove it.",
    )
    NOBODY_MAY = (
        "BZ0715", "nobody-may",
        "A route lets in nobody who is there: no workload of the mesh has a service account that `allow` names.",
        "Correct service account and namespace in `allow`; a serviceAccount without namespace is one of the pod's own.",
    )
    MISPLACED = (
        "BZ0716", "misplaced",
        "An annotation or label of ours stands on an object where nobody reads it.",
        "Write it where the finding says; `routes`, `egress`, `ports` and `endpoints` belong to pods and to the workloads that own them.",
    )
    EDGE_WAITS = (
        "BZ0717", "edge-not-in-force",
        "Something of an Ingress, a Gateway or an HTTPRoute waits for another object, another object has what it claims, or no process "
        "of the gateway serves it: a Service is not there, or has no such port; a host and path, or a host's certificate, belongs to an "
        "older object; a port is not listened on. Or its class is nobody's, annotations are "
        "another controller's, or pods behind it do not let the gateway in. That a Secret is missing only the status in a cluster tells.",
        "Create or change what the finding names, or have the two owners agree. In a cluster the object's status and Events say the same.",
    )
    UNSEEN = (
        "BZ0720", "beyond-tcp",
        "A NetworkPolicy lists ports of UDP or SCTP. A sidecar judges TCP alone.",
        "Have a CNI enforce the policy, too. Datagrams that may leave a meshed pod stand in `udp` of a MeshPolicy.",
    )
    UNMESHED = (
        "BZ0721", "selects-unmeshed",
        "A NetworkPolicy selects pods that have no sidecar, or are in the node's network: no sidecar enforces it there.",
        "Have the pods meshed, or a CNI enforce the policy; for a pod in the node's network the rules of the node count.",
    )
    CNI_BESIDES = (
        "BZ0722", "cni-besides",
        "NetworkPolicies are enforced by the sidecars of the pods that they select, for TCP, and perhaps by nobody else.",
        "Let a CNI that knows NetworkPolicies enforce them, too; bartizan.dev/analyze-suppress: BZ0722 on them says that one does.",
    )
    BLOCK_OF_CLUSTER = (
        "BZ0723", "block-of-the-cluster",
        "An ipBlock of a NetworkPolicy holds addresses of the cluster alone. Pods change theirs; a Service's is never judged, since "
        "what is judged is the pod that was chosen behind it.",
        "Write podSelector and namespaceSelector.",
    )
    DNS_BY_GUARD = (
        "BZ0724", "dns-by-guard",
        "A NetworkPolicy isolates what leaves and lists no name server. The sidecar's DNS guard answers all the same; a CNI that enforces "
        "the policy would stop the guard's own questions.",
        "List UDP and TCP port 53 to the name servers.",
    )
    NOT_ISOLATED = (
        "BZ0725", "section-without-effect",
        "A NetworkPolicy has `ingress` or `egress`, and does not isolate in that direction: what stands there counts for nothing.",
        "Name the direction in policyTypes, or remove the section.",
    )
