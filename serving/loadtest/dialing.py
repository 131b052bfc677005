"""Makes the connections of one process."""

import asyncio

from serving.errors import NearlineError
from serving.loadtest.calls import Calls
from serving.loadtest.connection import Connection, Owner
from serving.loadtest.counting import CountingConnection
from serving.loadtest.picks import picks
from serving.loadtest.plan import Plan
from serving.loadtest.recorder import Recorder
from serving.loadtest.sender import Sender, bodies_of

_CONNECT_S = 10.0


class Dialer:
    """All connections of a process send from one row of requests."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        bodies = bodies_of(plan.requests)
        self._largest = max(map(len, bodies))
        self._bodies = picks(bodies, plan.skew, plan.seed * 1_000 + number)
        self._context = None if plan.tls is None else plan.tls.context()

    async def dial(self, recorder: Recorder, owner: Owner) -> Connection:
        """Return one that is ready; NearlineError."""
        plan = self._plan
        kind = CountingConnection if plan.read is None else Connection
        connection = kind(Sender(plan, self._bodies, self._largest), Calls(plan.read, recorder), owner)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await loop.create_connection(lambda: connection, plan.host, plan.port, ssl=self._context)
                await connection.ready
        except TimeoutError:
            connection.close()
            raise NearlineError(f"no settings of HTTP/2 within {_CONNECT_S:g} s") from None
        except OSError as error:
            raise NearlineError(str(error)) from error
        except NearlineError:
            connection.close()
            raise
        return connection
