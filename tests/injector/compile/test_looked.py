
from injector.compile.looked import Looked
from tests.injector.compile.edge_objects import cluster_of, service
from tests.injector.compile.edge_secrets import secret_of

REF = "Service", "shop", "web"


def test_what_was_found_or_not_must_be_the_same() -> None:
    cluster = cluster_of(service("web"), service("other"))
    looked = Looked(cluster)
    assert looked.holds_in(cluster_of())        # nobody looked
    assert looked.service(("shop", "web")) is cluster.services["shop", "web"]
    assert looked.secret(("shop", "cert")) is None
    assert looked.holds_in(cluster)
    assert looked.holds_in(cluster.having({("Service", "shop", "other"): None}))
    assert not looked.holds_in(cluster.having({REF: service("web", type="ClusterIP")}))
    assert not looked.holds_in(cluster.having({REF: None}))
    assert not looked.holds_in(cluster.having({("Secret", "shop", "cert"): secret_of("cert", {})}))
