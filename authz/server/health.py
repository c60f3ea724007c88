"""grpc.health.v1 for the server as a whole ("") and for the service that Envoy calls."""

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import OVERALL_HEALTH, aio

AUTHORIZATION = "envoy.service.auth.v3.Authorization"
_NAMES = (OVERALL_HEALTH, AUTHORIZATION)


class Health:
    """Holds one state for all names; `servicer` answers Check and Watch."""

    def __init__(self) -> None:
        self.servicer = aio.HealthServicer()
        self._status = health_pb2.HealthCheckResponse.UNKNOWN

    def status_of(self, service: str) -> int | None:
        """The state of that name; None for a name that is not ours. From any thread."""
        return int(self._status) if service in _NAMES else None

    async def set_serving(self) -> None:
        """Callers may send checks."""
        await self._set(health_pb2.HealthCheckResponse.SERVING)

    async def set_not_serving(self) -> None:
        """Callers should go elsewhere; what still comes is answered."""
        await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _set(self, status: int) -> None:
        self._status = status
        for name in _NAMES:
            await self.servicer.set(name, status)
