"""The control plane's rows of `bartizan bench`: one injector on a core of its own, with a cluster that is known to it.

    rows.py         what is measured
    plane.py        the injector, a process
    store.py        where it finds its objects: a directory, or the real API server of `apiserver.py`
    objects.py      what there is: a cluster of a given size; `reviews.py` what the API server asks about it
    sidecars.py     as many sidecars as there are pods, as far as the control plane can tell
    caller.py       HTTPS that keeps its connections, as the API server does

All but the injector runs on the other core.
"""
