"""The control plane: admission, compiler, snapshot stream, and the operator's commands.

    documents  validate  semantics  hints  yaml_text  json_text     users' words: annotations and policies, refused with line and cure
    decide  containers  patch  json_patch  review                   admission, pure: an AdmissionReview in, an answer out
    cluster/                                                        what the cluster holds, as one immutable value; its sources
    compile/                                                        that value -> one snapshot a workload
    cli/                                                            the operator's verbs

It stands on `sidecar.model`; the sidecar knows nothing of it. YAML is read here and nowhere else.
"""
