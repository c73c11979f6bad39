"""The page: run `python app.py`, then open the printed address.

The environment variables HOST and PORT set the address, and MODEL the first model: a name, a folder or a Hub id.
"""

import os
import sys

from t2i.device import use_cores
from t2i.errors import InputError
from t2i.web import LAUNCH_LIMITS, LAUNCH_LOOK, create_demo

PORT = os.environ.get("PORT", "")
use_cores()
try:
    if PORT and not (PORT.isdecimal() and 0 < int(PORT) < 2**16):
        raise InputError(f"PORT must be a number from 1 to 65535, not {PORT!r}")
    demo = create_demo(os.environ.get("MODEL") or "flowers")
except InputError as error:
    sys.exit(f"t2i: {error}")

if __name__ == "__main__":
    port = int(PORT) if PORT else None
    demo.launch(server_name=os.environ.get("HOST"), server_port=port, **LAUNCH_LOOK, **LAUNCH_LIMITS)
