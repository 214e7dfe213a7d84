"""The control plane: admission, compiler, snapshot stream, and the operator's commands.

    documents/  semantics/  validate  hints  yaml_text  json_text   users' words: annotations and policies, refused with line and cure
    settings  decide  containers  form  patch  json_patch  rendered  review     admission, pure: an AdmissionReview in, an answer out
    bare                                                            why a pod that runs has no sidecar
    cluster/                                                        what the cluster holds, as one immutable value; its sources
    compile/  enforced                                              that value -> the snapshot of one pod
    config  server  stream  capture  jwks  key_set                  the process: webhook, snapshots, which pods are captured, token keys
    leader  events  pod_events                                      which replica does what one does for all; what pods are told
    trust  holders  own_certificate                                 whom the mesh trusts, who holds it already, and what we prove ourselves
    ca_bundle                                                       by whom the API server verifies the webhook
    manifests/                                                      what `bartizan install` prints, and the chart is made of
    edge_review  edge_status                                        what an Ingress or a route is told: before it is in force, and after
    acknowledged  by_worker  status  describe  description  operator  questions     what is known of each sidecar, and who may ask
    added  unpatch                                                  the way back from a patched pod
    cli/  findings  version                                         the operator's verbs, and the codes of what `analyze` finds
    demo/                                                           pods of the real webhook's making, run on one machine

It stands on the sidecar's lower floors; the sidecar knows nothing of it. YAML is read here and nowhere else.
"""
