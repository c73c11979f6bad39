"""The page: run `python app.py`, then open the printed address.

The environment variables HOST and PORT set the address, MODEL the first model (a name, a folder or a Hub id),
FRAME_ANCESTORS the sites that may show the page in a frame, and T2I_ISOLATE=1 lets browsers draw with several threads.
"""

import os
import sys

from t2i.device import use_cores
from t2i.errors import InputError
from t2i.web import create_demo
from t2i.web.hosting import launch_options, serve

use_cores()
try:
    variables = "HOST", "PORT", "FRAME_ANCESTORS", "T2I_ISOLATE"
    options = launch_options(*(os.environ.get(name, "") for name in variables))
    demo = create_demo(os.environ.get("MODEL") or "flowers")
    if __name__ == "__main__":
        serve(demo, options)
except InputError as error:
    sys.exit(f"t2i: {error}")
