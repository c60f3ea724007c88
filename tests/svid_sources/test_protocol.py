"""The development Workload API speaks the real protocol: another's client understands it, and it asks what is asked."""

import grpc
import pytest
from spiffe import JwtSource, SpiffeId, TrustDomain, WorkloadApiClient, X509Source
from spiffe._proto.workload_pb2 import X509BundlesResponse
from spiffe.errors import PySpiffeError

from authz.demo.workload_api import DevelopmentWorkloadApi
from tests.support.workload_api import Agent

OURS, PARTNER = TrustDomain("example.org"), TrustDomain("partner.example")


def test_the_spiffe_librarys_own_source_works_against_it(agent: Agent) -> None:
    """The public Python library keeps its X.509 source filled by it, federated bundle included."""
    with X509Source(socket_path=agent.endpoint, timeout_in_seconds=10) as source:
        context = source.get_x509_context()
        assert agent.spiffe_id == str(context.default_svid.spiffe_id)
        for domain in agent.trust_domains:
            bundle = context.x509_bundle_set.get_bundle_for_trust_domain(TrustDomain(domain))
            assert bundle is not None
            assert bundle.x509_authorities


def test_its_tokens_are_tokens_to_the_spiffe_library(agent: Agent) -> None:
    """A JWT-SVID that it mints is validated by the library against its JWT bundle, and by itself."""
    with (
        JwtSource(socket_path=agent.endpoint, timeout_in_seconds=10) as source,
        WorkloadApiClient(agent.endpoint) as client,
    ):
        token = source.fetch_svid({"authz"}).token
        assert agent.spiffe_id == str(client.validate_jwt_svid(token, "authz").spiffe_id)
        with pytest.raises(PySpiffeError):
            client.validate_jwt_svid(token, "another")
        bundle = source.get_bundle_for_trust_domain(TrustDomain(agent.trust_domain))
        assert bundle is not None
        assert bundle.jwt_authorities


def test_it_refuses_a_token_for_another_workload(api: DevelopmentWorkloadApi) -> None:
    """The socket is the identity: no other can be asked for."""
    with WorkloadApiClient(api.endpoint) as client, pytest.raises(PySpiffeError, match="PERMISSION_DENIED"):
        client.fetch_jwt_svid({"authz"}, SpiffeId("spiffe://example.org/someone-else"))


@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "True"),), (("workload.spiffe.io", ""),)])
@pytest.mark.parametrize("method", ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"])
def test_a_call_without_the_security_header_is_refused(
    agent: Agent, method: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    """What a caller can be made to send by accident, as a browser or proxy can, gets nothing."""
    with grpc.insecure_channel(agent.endpoint) as channel, pytest.raises(grpc.RpcError) as refused:
        next(channel.unary_stream(f"/SpiffeWorkloadAPI/{method}")(b"", metadata=metadata, timeout=5))
    assert isinstance(refused.value, grpc.Call)
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.value.code()


def test_bundles_alone_can_be_fetched(agent: Agent) -> None:
    """FetchX509Bundles has every trust domain by its SPIFFE ID."""
    with grpc.insecure_channel(agent.endpoint) as channel:
        call = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509Bundles")
        message = next(call(b"", metadata=(("workload.spiffe.io", "true"),), timeout=5))
    assert {f"spiffe://{each}" for each in agent.trust_domains} == set(X509BundlesResponse.FromString(message).bundles)
