"""grpc.health.v1 for the server as a whole ("") and for the service that Envoy calls."""

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import OVERALL_HEALTH, aio

AUTHORIZATION = "envoy.service.auth.v3.Authorization"


class Health:
    """Holds one state for all names; `servicer` answers Check and Watch, `status` Check alone, from any thread."""

    def __init__(self) -> None:
        self.servicer = aio.HealthServicer()
        self._status: int = health_pb2.HealthCheckResponse.NOT_SERVING

    async def set_serving(self) -> None:
        """Callers may send checks."""
        await self._set(health_pb2.HealthCheckResponse.SERVING)

    async def set_not_serving(self) -> None:
        """Callers should go elsewhere; what still comes is answered."""
        await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)

    def status(self, request: bytes) -> bytes | None:
        """The HealthCheckResponse for a HealthCheckRequest; None where it asks for a service that there is not."""
        try:
            name = health_pb2.HealthCheckRequest.FromString(request).service
        except DecodeError:
            return None
        if name not in (OVERALL_HEALTH, AUTHORIZATION):
            return None
        answer: bytes = health_pb2.HealthCheckResponse(status=self._status).SerializeToString()
        return answer

    async def _set(self, status: int) -> None:
        self._status = status
        for name in (OVERALL_HEALTH, AUTHORIZATION):
            await self.servicer.set(name, status)
