"""The data plane, and the library that the issuer and the injector stand on.

Floors; imports point down only, siblings on floor 1 never import each other (tests/architecture/test_floors.py):

    4  main                                reads the configuration, builds everything once, owns the root nursery
       start                               keeps out of the process what no pod uses, then runs main
    3  proxy/  control/                    the recipes; what changes while we run
    2  net/                                trio, sockets, TLS
    1  policy/  protocol/  telemetry/  intercept      decisions; bytes <-> values; what is told; packet rules as data
    0  model/                              values

One word for one thing:

    downstream   who connects to us              upstream    whom we connect to
    inbound      what enters the pod             outbound    what leaves it
    peer         the verified other end          endpoint    one pod behind a Service
    route        an inbound rule                 exchange    one request with its response
    permit       leave to forward an exchange    reason      why something was refused or failed
    lease        a pooled upstream connection while one exchange uses it
    origination  TLS that the sidecar speaks for an application that does not
    snapshot     all that one sidecar knows of the mesh, in one value
    SVID         the certificate that carries a SPIFFE ID
    canary       an address for which the sidecar gives up its exemption from a packet rule, to test the rule
"""
