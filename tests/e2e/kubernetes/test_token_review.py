"""Who gets attested by a real API server's word: the pod that its token was bound to, while it lives, from its own address."""

import pytest

from certs.authenticate import Attestation, CannotTell, Refused
from certs.kubernetes import Api
from certs.token_review import TokenReviewAttestor
from sidecar.net.clock import wall_clock

from .cluster import Cluster

ADDRESS = "10.244.0.7"


@pytest.fixture
def attestor(issuer_api: Api) -> TokenReviewAttestor:
    return TokenReviewAttestor(issuer_api, "bartizan")


async def test_a_pod_proves_itself(cluster: Cluster, attestor: TokenReviewAttestor) -> None:
    uid = await cluster.pod("shop", "good", "web")
    token = await cluster.token("shop", "web", ("good", uid))
    assert await attestor.attest(token, ADDRESS, wall_clock()) == Attestation("shop", "web", "good", uid)


async def test_a_pod_that_has_not_begun_proves_itself_once_it_has_an_address(
    cluster: Cluster, attestor: TokenReviewAttestor
) -> None:
    uid = await cluster.pod("shop", "pending", "web", ADDRESS, "Pending")
    token = await cluster.token("shop", "web", ("pending", uid))
    await cluster.report("shop", "pending", "Pending", ADDRESS, "fd00::7")
    assert (await attestor.attest(token, "fd00::7", wall_clock())).pod_uid == uid


async def test_a_pod_without_an_address_yet(cluster: Cluster, attestor: TokenReviewAttestor) -> None:
    uid = await cluster.pod("shop", "early", "web", "", "Pending")
    with pytest.raises(CannotTell, match="no address yet"):
        await attestor.attest(await cluster.token("shop", "web", ("early", uid)), ADDRESS, wall_clock())


async def test_a_pod_that_is_being_deleted_may_ask_until_its_grace_ends(cluster: Cluster, attestor: TokenReviewAttestor) -> None:
    uid = await cluster.pod("shop", "leaving", "web")
    token = await cluster.token("shop", "web", ("leaving", uid))
    await cluster.delete("/api/v1/namespaces/shop/pods/leaving", 30)
    now = wall_clock()
    assert (await attestor.attest(token, ADDRESS, now)).pod_uid == uid
    with pytest.raises(Refused, match="grace has ended"):
        await attestor.attest(token, ADDRESS, now + 31)


class TestRefused:
    async def test_another_audience(self, cluster: Cluster, attestor: TokenReviewAttestor) -> None:
        uid = await cluster.pod("shop", "audience", "web")
        for audience in ("other", ""):
            token = await cluster.token("shop", "web", ("audience", uid), audience)
            with pytest.raises(Refused, match="does not know it"):
                await attestor.attest(token, ADDRESS, wall_clock())

    async def test_no_token_of_this_cluster(self, attestor: TokenReviewAttestor) -> None:
        for text in ("x", "a.b.c", " ", '"', "\0"):
            with pytest.raises(Refused, match="does not know it"):
                await attestor.attest(text, ADDRESS, wall_clock())

    async def test_bound_to_no_pod(self, cluster: Cluster, attestor: TokenReviewAttestor) -> None:
        with pytest.raises(Refused, match="bound to no pod"):
            await attestor.attest(await cluster.token("shop", "web"), ADDRESS, wall_clock())

    async def test_a_deleted_pod(self, cluster: Cluster, attestor: TokenReviewAttestor) -> None:
        """At once, where the API server itself accepts the token for a minute."""
        uid = await cluster.pod("shop", "deleted", "web")
        token = await cluster.token("shop", "web", ("deleted", uid))
        await cluster.delete("/api/v1/namespaces/shop/pods/deleted", 0)
        with pytest.raises(Refused, match=r"its pod is gone|does not know it"):
            await attestor.attest(token, ADDRESS, wall_clock())

    async def test_another_pod_of_that_name(self, cluster: Cluster, attestor: TokenReviewAttestor) -> None:
        uid = await cluster.pod("shop", "replaced", "web")
        token = await cluster.token("shop", "web", ("replaced", uid))
        await cluster.delete("/api/v1/namespaces/shop/pods/replaced", 0)
        await cluster.pod("shop", "replaced", "web")
        with pytest.raises(Refused, match=r"another has its name|does not know it"):
            await attestor.attest(token, ADDRESS, wall_clock())

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    async def test_a_pod_at_its_end(self, cluster: Cluster, attestor: TokenReviewAttestor, phase: str) -> None:
        name = phase.lower()
        uid = await cluster.pod("shop", name, "web")
        token = await cluster.token("shop", "web", (name, uid))
        await cluster.report("shop", name, phase, ADDRESS)
        with pytest.raises(Refused, match=f"phase {phase}"):
            await attestor.attest(token, ADDRESS, wall_clock())

    async def test_another_address(self, cluster: Cluster, attestor: TokenReviewAttestor, issuer_api: Api) -> None:
        uid = await cluster.pod("shop", "stolen", "web")
        token = await cluster.token("shop", "web", ("stolen", uid))
        with pytest.raises(Refused, match=r"no address of its pod \(10\.244\.0\.7\)"):
            await attestor.attest(token, "10.244.0.8", wall_clock())
        anywhere = TokenReviewAttestor(issuer_api, "bartizan", checks_address=False)
        assert (await anywhere.attest(token, "10.244.0.8", wall_clock())).pod_uid == uid


async def test_an_issuer_that_may_not_ask_does_not_guess(cluster: Cluster) -> None:
    uid = await cluster.pod("shop", "unasked", "web")
    token = await cluster.token("shop", "web", ("unasked", uid))
    powerless = cluster.api(await cluster.token("shop", "orders", audience=""))
    with pytest.raises(CannotTell, match="403"):
        await TokenReviewAttestor(powerless, "bartizan").attest(token, ADDRESS, wall_clock())
