"""`bartizan bench`: Bartizan beside Envoy, nginx and HAProxy, the same work for each in interleaved rounds; and its control plane.

    world's own namespace       load generators; the one that speaks TLS for them        10.9.0.1
    namespace `mesh`            Bartizan behind its packet rules, and an origin          10.9.1.2
    namespace `plain`           another proxy on a port of its own, and an origin        10.9.2.2

The proxy has one core to itself, everything else shares another. Processes and namespaces end with the first process of the world,
whatever ends it: nothing is left to clean up. `workloads.py` is the list of what is measured, `targets.py` of what is hoped for.
"""
