"""What Azure Functions indexes: the doors, and nothing else."""

import azure.functions as func

from handoff_http import bp as handoff_http
from reconcile_timer import bp as reconcile_timer

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(handoff_http)
app.register_functions(reconcile_timer)
