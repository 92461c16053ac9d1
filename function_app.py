"""What Azure Functions indexes: the doors, and nothing else."""

import azure.functions as func

from dynamics_events_http import bp as dynamics_events_http
from handoff_http import bp as handoff_http
from handoff_queue import bp as handoff_queue
from opencx_events_http import bp as opencx_events_http
from reconcile_timer import bp as reconcile_timer
from relay_queue import bp as relay_queue

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(handoff_http)
app.register_functions(opencx_events_http)
app.register_functions(dynamics_events_http)
app.register_functions(handoff_queue)
app.register_functions(relay_queue)
app.register_functions(reconcile_timer)
