"""The machine room: patched pods as running processes in network namespaces, the world around them, and what is seen there.

    cli -> modes, kept                  outside: choose the kind of namespaces, start the world in them, end it, enter a pod
    inner -> world -> checks            inside: bring everything up, look, report
    applying                            objects that a person applies to a world that goes on
    world -> apiserver -> kubelet       a manifest, the real webhook's answer, and the processes that the answer describes
    kubelet -> runtime -> container     a pod, a container's processes, and what its JSON asks for (pure)
    network, volumes, tokens, probes, images, outside, dns, apps, client, capture      what they stand on

Nothing here decides what a pod is: the kubelet runs the JSON that came back from the webhook and knows nothing of sidecars.
"""
