"""`bartizan bench`: Bartizan beside Envoy, nginx, HAProxy and others, the same work for each in interleaved rounds; and its control plane.

    world's own namespace   load generators; who speaks TLS for them; the host outside   10.9.1.1, 10.9.2.1, 10.9.3.1
    namespace `mesh`        packet rules, the proxy that is measured, an origin          10.9.1.2
    namespace `client`      packet rules, the caller's proxy, where there are two        10.9.3.2
    namespace `plain`       no rules: gateways; the origin of the way without proxies    10.9.2.2

The proxy has one core to itself, everything else shares another. Processes and namespaces end with the first process of the world,
whatever ends it: nothing is left to clean up. `workloads.py` is the list of what is measured, `targets.py` of what is hoped for.
"""
