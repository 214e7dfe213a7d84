"""The data plane, and the library that the issuer and the injector stand on.

Floors; imports point down only, siblings on floor 1 never import each other (tests/architecture/test_floors.py):

    4  main                                reads the configuration, owns the root nursery
       parts                               everything that one process has, built once
       doors                               where connections come in, by what kind of process it is
       supervisor                          of a gateway of several processes: starts them, and speaks for them
       start                               keeps out of the process what no pod uses, then runs main
    3  proxy/  control/                    the recipes; what changes while we run
    2  net/                                trio, sockets, TLS
    1  policy/  protocol/  telemetry/  intercept      decisions; bytes <-> values; what is told; packet rules as data
    0  model/                              values

One word for one thing:

    downstream   who connects to us              upstream    whom we connect to
    inbound      what enters the pod             outbound    what leaves it
    peer         the verified other end          endpoint    one pod behind a Service
    route        an inbound rule                 call rule   the part of it that callers carry out
    exchange     one request with its response   permit      leave to forward an exchange
    end          one side of an exchange: serving (towards the downstream) or asking (towards the upstream)
    entrance     what all requests of one connection to the application have in common
    plan         how a permitted exchange is carried out
    admission    what a rule asks for beyond leave: limits, faults, answers, edits
    attempt      one try at an upstream; an exchange may make several
    reply        an answer of our own that a rule asks for
    reason       why something was refused or failed
    lease        an exchange's place on an upstream connection
    trailer      a header field behind a body
    upgrade      from HTTP to another protocol, on the same connection
    route table  all rules, arranged so that a request costs look-ups
    group        what a caller remembers of one Service; its members are the endpoints
    dialled      the destination that the application chose; a rule may lead the call elsewhere
    pump         the task that waits at the socket of an HTTP/2 connection for all that wait on it
    prompt       of an exchange: ordinary from end to end, and carried out in a short way; over HTTP/2 by whoever reads, without a task
    turn         all that one read sets off, on whatever connections, before any task runs
    ejection     leaving out an endpoint that fails again and again
    mirror       a copy of a request, whose answer is thrown away
    budget       what may be spent: on retries, on frames that do nothing, of an approval's bytes
    drain        to leave in order; of an endpoint: to get nothing new, and end what was begun
    alias        a name of the cluster that stands for a host outside: an ExternalName Service
    approval     an external host or range that the workload asks for and a policy grants
    leave        a permit with the approval and the rules that it rests on; what was begun by it ends when it is withdrawn
    observation  letting through, and writing down, what nobody has approved, until a date
    origination  TLS that the sidecar speaks for an application that does not
    waiver       a check of a host's certificate that a policy relaxes until a date
    synthetic address   of nobody's, stands for one name, so that a TCP connection says which name it means
    gateway      a sidecar that leads others out of the mesh, each as its own identity was granted, or clients into it
    worker       one of the processes of a gateway that has several
    edge         where clients come in that have no identity in the mesh; what an ingress gateway serves
    client       who comes in there; what its credentials say, verified, are its claims
    authorizer   a Service or a host that is asked about a client's request before it goes on
    restriction  who may make some of the requests that a rule at the edge is for
    isolation    what NetworkPolicies leave of the traffic in one direction, where any selects the pod
    caller       whom a gateway leads out; of a Service, who calls it
    preface      the line by which a caller's sidecar tells a gateway where to
    way          what all requests of one connection to one external host have in common
    question     the operator's: would it be reached, and how? Its answer, the explanation, is made of steps
    snapshot     all that one sidecar knows of the mesh, in one value
    SVID         the certificate that carries a SPIFFE ID
    trust        whom the mesh trusts and whom no longer, under one version: the roots, the signer, the deny-list
    anchors      that trust made ready for TLS
    signer       the root that new certificates chain to
    deny-list    whom nobody believes although a certificate has not ended; what stands on it was revoked
    holder       who keeps a private key, the sidecar or the application; of a trust: who has heard of its version
    account      what one connection is found to be while it lasts; closed, it is an entry of the ledger
    ledger       the sidecar's evidence of its connections and refusals, a chain of lines
    chain        lines that each hold the hash of the line before; of certificates: leaf first, towards a root
    head         the hash of a chain's last line
    shed         not written, for want of room, and counted
    ship         to send the control plane the lines that it does not have
    countersignature    the control plane's word that it had this head at this time
    passage      what the packet rules let pass the sidecar by, because a MeshPolicy says so
    canary       an address for which the sidecar gives up its exemption from a packet rule, to test the rule
"""
